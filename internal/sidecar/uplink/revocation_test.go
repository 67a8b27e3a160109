package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firma/internal/fault"
	"firma/internal/verdict"
	"firma/internal/wire"
)

func TestReplayIsCompleteAtStart(t *testing.T) {
	for _, n := range []int{0, 1, 3000} {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf("ctok_%d", i))
		}
		f := newFake(t)
		f.revocations = replay(ids...)
		u := started(t, f.config())
		for _, id := range ids {
			if !u.Revoked(id) {
				t.Fatalf("%d announced: %s is not revoked after Start", n, id)
			}
		}
		if u.Revoked("ctok_other") {
			t.Errorf("%d announced: everything is revoked", n)
		}
	}
}

// Start waits for the last announced event.
func TestStartWaitsForTheWholeReplay(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	f.revocations = func(ctx context.Context, h http.Header, send func(string) error) error {
		h.Set(wire.HeaderReplay, "2")
		if err := send("ctok_1"); err != nil {
			return err
		}
		<-release
		if err := send("ctok_2"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	u, err := New(f.config())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	done := make(chan error)
	go func() { done <- u.Start(context.Background()) }()
	eventually(t, "the bundle", func() bool { return u.BundleVersion() != "" })
	if ok, reason := u.Ready(); ok || reason != verdict.RevocationCacheNotReady || !u.Revoked("ctok_innocent") {
		t.Errorf("before the replay is complete: ready %v %s", ok, reason)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !u.Revoked("ctok_2") || u.Revoked("ctok_innocent") {
		t.Error("the replay is not what was sent")
	}
}

// An Authority of another make announces nothing: it is waited for by time, and
// only where it need not prove itself.
func TestUnannouncedReplay(t *testing.T) {
	silent := func(ctx context.Context, _ http.Header, send func(string) error) error {
		if err := send("ctok_1"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	grace := func(d time.Duration) bool { return d == DefaultRevocationGrace }
	for _, proven := range []bool{false, true} {
		f := newFake(t)
		f.proves, f.revocations = proven, silent
		w := newWaits()
		cfg := f.config()
		cfg.AllowUnproven, cfg.After, cfg.Request = true, w.After, nil
		u, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- u.Start(context.Background()) }()
		for err = errRunning; err == errRunning; {
			select {
			case err = <-done:
			case a := <-w.asked:
				if grace(a.d) {
					a.fire <- time.Now()
				}
			}
		}
		u.Close()
		if want := map[bool]string{false: "", true: "AuthorityTransportAmbiguous"}[proven]; fault.NameOf(err) != want {
			t.Errorf("proven %v: %v, want %q", proven, err, want)
		}
	}
}

var errRunning = errors.New("still running")

func TestUnprovenAuthorityIsRefusedByDefault(t *testing.T) {
	f := newFake(t)
	f.proves = false
	if err := refusedStart(t, f.config()); fault.NameOf(err) != "AuthorityTransportAmbiguous" {
		t.Errorf("got %v", err)
	}
}

func TestTooManyRevocations(t *testing.T) {
	f := newFake(t)
	f.revocations = replay("ctok_1", "ctok_2", "ctok_3")
	cfg := f.config()
	cfg.MaxRevocations = 2
	u, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = u.Start(context.Background())
	u.Close()
	if fault.NameOf(err) != "RevocationCacheFull" || !u.Revoked("ctok_9") {
		t.Errorf("got %v", err)
	}
}

// Later, too: then every token is refused, and for good.
func TestTooManyRevocationsLater(t *testing.T) {
	f := newFake(t)
	more := make(chan string, 1)
	f.revocations = func(ctx context.Context, h http.Header, send func(string) error) error {
		h.Set(wire.HeaderReplay, "0")
		if err := send(""); err != nil {
			return err
		}
		for {
			select {
			case id := <-more:
				if err := send(id); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	cfg := f.config()
	cfg.MaxRevocations = 1
	u := started(t, cfg)
	more <- "ctok_1"
	eventually(t, "the first revocation", func() bool { return u.Revoked("ctok_1") })
	more <- "ctok_2"
	eventually(t, "everything is refused", func() bool { ok, _ := u.Ready(); return !ok && u.Revoked("ctok_innocent") })
}

func TestDisconnect(t *testing.T) {
	for _, closed := range []bool{false, true} {
		f := newFake(t)
		cut := make(chan struct{})
		again := make(chan struct{})
		first := make(chan struct{}, 1)
		first <- struct{}{}
		f.revocations = func(ctx context.Context, h http.Header, send func(string) error) error {
			select {
			case <-first:
				h.Set(wire.HeaderReplay, "1")
				if err := send("ctok_1"); err != nil {
					return err
				}
				<-cut
				return errors.New("cut")
			default:
			}
			<-again
			return replay()(ctx, h, send)
		}
		w := newWaits()
		cfg := f.config()
		cfg.ClosedOnDisconnect, cfg.After, cfg.Request = closed, w.After, nil
		u := started(t, cfg)
		close(cut)
		a := w.next(t, func(d time.Duration) bool { return d >= 125*time.Millisecond && d <= 250*time.Millisecond })
		if ok, _ := u.Ready(); ok == closed {
			t.Errorf("closed_on_disconnect %v: ready %v while disconnected", closed, ok)
		}
		if !u.Revoked("ctok_1") || u.Revoked("ctok_2") {
			t.Errorf("a disconnect changed what is revoked")
		}
		a.fire <- time.Now()
		close(again)
		eventually(t, "ready again", func() bool { ok, _ := u.Ready(); return ok })
		if !u.Revoked("ctok_1") {
			t.Error("a shorter replay took a revocation back")
		}
	}
}

// The set against a plain map, with a reader that never waits.
func TestRevocationSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 4000).Draw(t, "limit")
		before := rapid.IntRange(0, 2000).Draw(t, "before")
		after := rapid.IntRange(0, 3000).Draw(t, "after")
		span := rapid.IntRange(1, 5000).Draw(t, "span")
		set, oracle, full := revocations{limit: limit}, map[string]bool{}, false
		add := func(i int) {
			id := fmt.Sprint(i * 7919 % span)
			fits := oracle[id] || len(oracle) < limit
			full = full || !fits
			if set.add(id) == full {
				t.Fatalf("add %s: full %v, %d of %d", id, full, len(oracle), limit)
			}
			if !full {
				oracle[id] = true
			}
		}
		for i := range before {
			add(i)
		}
		if !set.has("x") || set.ready() {
			t.Fatal("open before the replay is complete")
		}
		set.replayed()
		for i := range after {
			add(before + i)
		}
		if set.ready() == full {
			t.Fatalf("ready %v, full %v", set.ready(), full)
		}
		for i := range span {
			if id := fmt.Sprint(i); set.has(id) != (oracle[id] || full) {
				t.Fatalf("has %s: %v, want %v", id, set.has(id), oracle[id] || full)
			}
		}
	})
}

func TestRevocationSetWhileReading(t *testing.T) {
	set := revocations{limit: 10_000}
	set.replayed()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					set.has(fmt.Sprint(i % 5000))
				}
			}
		})
	}
	for i := range 3000 {
		id := fmt.Sprint(i)
		if !set.add(id) || !set.has(id) {
			t.Error("an added id is not there")
			break
		}
	}
	close(stop)
	readers.Wait()
}

// FuzzReplayLength: a length is what big numbers say, if a stream can be as long.
func FuzzReplayLength(f *testing.F) {
	for _, s := range []string{"0", "17", "-1", "", "1e3", " 1", "99999999999999999999", "+7", "007", "0x7", "1_0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := replayLength(s)
		want, isNumber := new(big.Int).SetString(s, 10)
		if ok != (isNumber && want.IsInt64() && want.Sign() >= 0) || ok && want.Int64() != int64(n) {
			t.Errorf("%q is %d, %v", s, n, ok)
		}
	})
}
