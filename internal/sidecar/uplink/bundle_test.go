package uplink

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"firma/internal/fault"
	"firma/internal/verdict"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// sequence sends the bundles it is given, one after the other.
func sequence(bundles <-chan *firmav1.PolicyBundle) func(context.Context, func(*firmav1.PolicyBundle) error) error {
	return func(ctx context.Context, send func(*firmav1.PolicyBundle) error) error {
		for {
			select {
			case b := <-bundles:
				if err := send(b); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func badBundles() map[string]*firmav1.PolicyBundle {
	return map[string]*firmav1.PolicyBundle{
		"none":           nil,
		"no version":     {Policies: []byte(permitAll), TtlSeconds: 30},
		"odd version":    {Version: "a\nb", Policies: []byte(permitAll), TtlSeconds: 30},
		"no ttl":         {Version: "v", Policies: []byte(permitAll)},
		"not Cedar":      {Version: "v", Policies: []byte("permit"), TtlSeconds: 30},
		"unknown action": {Version: "v", Policies: []byte(`permit (principal, action == Firma::Action::"x", resource);`), TtlSeconds: 30},
		"bad schema":     {Version: "v", Policies: []byte(permitAll), EntitySchema: []byte("nonsense {"), TtlSeconds: 30},
		"too large":      {Version: "v", Policies: bytes.Repeat([]byte("\n"), wire.MaxBundleBytes+1), TtlSeconds: 30},
		"much too large": {Version: "v", Policies: bytes.Repeat([]byte("\n"), maxMessageBytes+1), TtlSeconds: 30},
	}
}

func TestStartRefusesABadBundle(t *testing.T) {
	for name, b := range badBundles() {
		f := newFake(t)
		c := make(chan *firmav1.PolicyBundle, 1)
		c <- b
		f.bundles = sequence(c)
		if err := refusedStart(t, f.config()); fault.NameOf(err) != "PolicyInvalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Later, a bad bundle leaves the previous one as it is: not even fresher.
func TestABadBundleKeepsThePrevious(t *testing.T) {
	f := newFake(t)
	c := make(chan *firmav1.PolicyBundle, 1)
	f.bundles = sequence(c)
	c <- goodBundle("v1")
	u := started(t, f.config())
	bundle, until := u.Bundle()
	for name, b := range badBundles() {
		if name == "much too large" {
			continue // ends the stream, see below
		}
		c <- b
		c <- goodBundle("v1") // arrives after the bad one was judged
		eventually(t, "a good bundle after the bad one", func() bool { _, later := u.Bundle(); return later.After(until) })
		if again, _ := u.Bundle(); again != bundle || u.BundleVersion() != "v1" {
			t.Fatalf("%s: was taken", name)
		}
		_, until = u.Bundle()
	}
	c <- badBundles()["much too large"]
	eventually(t, "the stream is followed again", func() bool {
		select {
		case c <- goodBundle("v2"): // the broken stream may swallow some
		default:
		}
		return u.BundleVersion() == "v2"
	})
}

func TestFreshnessIsReceiptPlusTTL(t *testing.T) {
	now := time.Now().Add(10 * time.Second) // whatever the fake signs from now on is valid then
	for ttl, want := range map[uint32]time.Duration{1: time.Second, 30: 30 * time.Second, 1<<32 - 1: 24 * time.Hour} {
		f := newFake(t)
		c := make(chan *firmav1.PolicyBundle, 1)
		f.bundles = sequence(c)
		cfg := f.config()
		cfg.Now = func() time.Time { return now }
		c <- &firmav1.PolicyBundle{Version: "v", Policies: []byte(permitAll), TtlSeconds: ttl}
		u := started(t, cfg)
		if _, until := u.Bundle(); !until.Equal(now.Add(want)) {
			t.Errorf("ttl %d: fresh for %v, want %v", ttl, until.Sub(now), want)
		}
	}
}

// The same version with other policies is another bundle.
func TestVersionIsNotTrustedAlone(t *testing.T) {
	f := newFake(t)
	c := make(chan *firmav1.PolicyBundle, 1)
	f.bundles = sequence(c)
	c <- goodBundle("v1")
	u := started(t, f.config())
	before, _ := u.Bundle()
	b := goodBundle("v1")
	b.Policies = []byte(`forbid (principal, action, resource);`)
	c <- b
	eventually(t, "the other bundle", func() bool { now, _ := u.Bundle(); return now != before })
}

// A stream that says nothing for a bundle's whole life is given up.
func TestSilentStreamIsReplaced(t *testing.T) {
	f := newFake(t)
	streams := make(chan struct{}, 10)
	good := f.bundles
	f.bundles = func(ctx context.Context, send func(*firmav1.PolicyBundle) error) error {
		streams <- struct{}{}
		return good(ctx, send)
	}
	w := newWaits()
	cfg := f.config()
	cfg.After, cfg.Request = w.After, nil
	u := started(t, cfg)
	<-streams
	w.next(t, func(d time.Duration) bool { return d == 30*time.Second }).fire <- time.Now()
	w.next(t, func(d time.Duration) bool { return d >= 125*time.Millisecond && d <= 250*time.Millisecond }).fire <- time.Now()
	<-streams // a second one was opened
	if ok, reason := u.Ready(); !ok {
		t.Errorf("not ready meanwhile: %s", reason)
	}
}

// Reconnects to a server that keeps failing come later and later.
func TestReconnectsBackOff(t *testing.T) {
	f := newFake(t)
	first := make(chan struct{}, 1)
	first <- struct{}{}
	f.bundles = func(_ context.Context, send func(*firmav1.PolicyBundle) error) error {
		select {
		case <-first:
			return send(goodBundle("v1"))
		default:
			return errors.New("broken")
		}
	}
	w := newWaits()
	cfg := f.config()
	cfg.After, cfg.Request = w.After, nil
	started(t, cfg)
	step := DefaultMinBackoff
	for range 10 {
		w.next(t, func(d time.Duration) bool {
			return d >= step/2 && d <= step && !fixed(d)
		}).fire <- time.Now()
		step = min(2*step, DefaultMaxBackoff)
	}
}

// Before Start, and for ever after a Start that failed, everything is refused.
func TestNothingIsReadyBeforeStart(t *testing.T) {
	f := newFake(t)
	u, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	ok, reason := u.Ready()
	b, until := u.Bundle()
	if ok || reason != verdict.PolicyBundleNotReady || b != nil || !until.IsZero() || u.Tokens() == nil || u.Tokens().Len() != 0 || !u.Revoked("ctok_x") {
		t.Errorf("ready %v %s, bundle %v until %v, tokens %v, revoked %v", ok, reason, b, until, u.Tokens(), u.Revoked("ctok_x"))
	}
}
