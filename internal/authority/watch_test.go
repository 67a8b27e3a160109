package authority_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"firma/internal/authority"
	"firma/internal/fault"
	"firma/internal/sidecar/uplink"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
	"firma/internal/wire/firmav1/firmav1connect"
)

const poll = 7 * time.Second // a wait nobody else asks for

// onDisk is an Authority configured by files, on a clock.
func onDisk(t testing.TB, c *clock) authority.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := authority.Config{
		KeyFile: filepath.Join(dir, "authority.key"), PolicyDir: filepath.Join(dir, "policies"),
		IssuancePolicyDir: filepath.Join(dir, "issuance"), RevocationFile: filepath.Join(dir, "revocations.txt"),
		PreSharedKey: key, Poll: poll, Now: c.Now, After: c.After,
	}
	if _, _, err := authority.GenerateKey(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(cfg.PolicyDir, "10-all.cedar"), permitAll)
	write(t, filepath.Join(cfg.IssuancePolicyDir, "all.cedar"), permitAll)
	return cfg
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// look makes the Authority look at its files n times.
func (c *clock) look(t testing.TB, n int) {
	t.Helper()
	for range n {
		c.expect(t, "the next poll", exactly(poll))
		c.advance(poll)
	}
	c.expect(t, "the poll after", exactly(poll))
	c.asked <- poll
}

func TestPolicyReload(t *testing.T) {
	c, log := newClock(), new(logged)
	cfg := onDisk(t, c)
	cfg.Log, cfg.BundleTTL = log.logger(), time.Hour
	r := run(t, cfg)
	u := start(t, towards(r))
	first := u.BundleVersion()

	// A good change reaches the Sidecar once it has settled.
	write(t, filepath.Join(cfg.PolicyDir, "20-no-install.cedar"), `forbid (principal, action == Firma::Action::"system.install", resource);`)
	c.look(t, 3)
	eventually(t, "the new bundle arrives", func() bool { return u.BundleVersion() != first })
	second := u.BundleVersion()

	// A bad one is reported, and the previous bundle stays.
	write(t, filepath.Join(cfg.PolicyDir, "30-bad.cedar"), "forbid (principal")
	c.look(t, 3)
	eventually(t, "the error is logged", func() bool { return strings.Contains(log.all(), "ERROR policies not reloaded") })
	if u.BundleVersion() != second {
		t.Errorf("a bad reload changed the bundle to %s", u.BundleVersion())
	}
	// So is the loss of the whole directory, and it heals.
	if err := os.RemoveAll(cfg.PolicyDir); err != nil {
		t.Fatal(err)
	}
	c.look(t, 3)
	write(t, filepath.Join(cfg.PolicyDir, "10-all.cedar"), permitAll)
	c.look(t, 3)
	eventually(t, "the first bundle is back", func() bool { return u.BundleVersion() == first })
}

// A change is not read while the file is still being written.
func TestPolicyReloadWaitsForTheFileToSettle(t *testing.T) {
	c, log := newClock(), new(logged)
	cfg := onDisk(t, c)
	cfg.Log, cfg.BundleTTL = log.logger(), time.Hour
	u := start(t, towards(run(t, cfg)))
	first := u.BundleVersion()
	c.look(t, 2)
	path := filepath.Join(cfg.PolicyDir, "20-two-steps.cedar")
	write(t, path, "// permits, and then\n")
	c.look(t, 1)
	write(t, path, "// permits, and then\n"+permitAll+`forbid (principal, action, resource);`)
	c.look(t, 1)
	if strings.Contains(log.all(), "policy bundle changed") || u.BundleVersion() != first {
		t.Fatal("half a change was served")
	}
	c.look(t, 1)
	eventually(t, "the whole change arrives", func() bool { return u.BundleVersion() != first })
	if n := strings.Count(log.all(), "policy bundle changed"); n != 1 {
		t.Errorf("the bundle changed %d times", n)
	}
}

func TestIssuanceReload(t *testing.T) {
	c := newClock()
	cfg := onDisk(t, c)
	r := run(t, cfg)
	start(t, towards(r))
	write(t, filepath.Join(cfg.IssuancePolicyDir, "none.cedar"), `forbid (principal, action, resource);`)
	c.look(t, 3)
	eventually(t, "issuance is denied", func() bool { return fault.NameOf(startErr(t, towards(r))) == "CapabilityDenied" })
}

func TestRevocations(t *testing.T) {
	c, log := newClock(), new(logged)
	cfg := onDisk(t, c)
	cfg.Log = log.logger()
	write(t, cfg.RevocationFile, "# by hand\nctok_before leaked\n\n")
	r := run(t, cfg)
	u := start(t, towards(r))
	if !u.Revoked("ctok_before") || u.Revoked("ctok_other") {
		t.Fatal("the replay is not complete after Start, or says too much")
	}
	if err := authority.Revoke(cfg.RevocationFile, "ctok_after", "operator-revoked", 0, c.Now()); err != nil {
		t.Fatal(err)
	}
	c.look(t, 1)
	eventually(t, "the new revocation arrives", func() bool { return u.Revoked("ctok_after") })

	// A bad line is reported; what is known and what is good counts.
	write(t, cfg.RevocationFile, "ctok_bad at=yesterday\nctok_good\n")
	c.look(t, 1)
	eventually(t, "the good line arrives", func() bool { return u.Revoked("ctok_good") })
	if !strings.Contains(log.all(), "revocations.txt:1") || !u.Revoked("ctok_before") {
		t.Errorf("a bad line was not reported, or a revocation was forgotten:\n%s", log.all())
	}
	// So does the loss of the file.
	if err := os.Remove(cfg.RevocationFile); err != nil {
		t.Fatal(err)
	}
	c.look(t, 1)
	to := towards(r)
	to.Now = c.Now // the Authority's has moved on
	if again := start(t, to); !again.Revoked("ctok_before") {
		t.Error("a removed file took a revocation back")
	}
}

// A file that a start cannot understand stops it: an operator believes the token
// is revoked.
func TestStartRefusesABadRevocationFile(t *testing.T) {
	cfg := onDisk(t, newClock())
	write(t, cfg.RevocationFile, "ctok_a\nctok_b expires=soon\n")
	_, err := authority.New(cfg)
	if fault.NameOf(err) != "RevocationFileInvalid" || !strings.Contains(err.Error(), "revocations.txt:2") {
		t.Errorf("got %v", err)
	}
}

// since cuts the replay, and the header says by how much.
func TestRevocationsSince(t *testing.T) {
	c := newClock()
	cfg := onDisk(t, c)
	write(t, cfg.RevocationFile, "ctok_1\nctok_2\n")
	r := run(t, cfg)
	c.look(t, 1)
	later := c.Now()
	write(t, cfg.RevocationFile, "ctok_1\nctok_2\nctok_3\n")
	c.look(t, 1)
	client := firmav1connect.NewAuthorityServiceClient(h2c(t), r.URL(), connect.WithGRPC())
	for name, tt := range map[string]struct {
		since *timestamppb.Timestamp
		count string
		ids   []string
	}{
		"everything":    {nil, "3", []string{"ctok_1", "ctok_2", "ctok_3"}},
		"the epoch":     {&timestamppb.Timestamp{}, "3", []string{"ctok_1", "ctok_2", "ctok_3"}},
		"the last only": {timestamppb.New(later), "1", []string{"ctok_3"}},
		"the future":    {timestamppb.New(later.Add(time.Hour)), "0", nil},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		s, err := client.WatchRevocations(ctx, connect.NewRequest(&firmav1.WatchRevocationsRequest{
			Since: tt.since, Credentials: &firmav1.SidecarCredentials{PreSharedKey: string(key)}}))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.ResponseHeader().Get(wire.HeaderReplay); got != tt.count {
			t.Errorf("%s: announced %q, want %q", name, got, tt.count)
		}
		var ids []string
		for range tt.ids {
			if !s.Receive() {
				t.Fatal(s.Err())
			}
			ids = append(ids, s.Msg().GetTokenId())
		}
		if !slices.Equal(ids, tt.ids) {
			t.Errorf("%s: %v, want %v", name, ids, tt.ids)
		}
		cancel()
		_ = s.Close()
	}
}

// Live revocations are sent once each, in order.
func TestRevocationsAreSentOnce(t *testing.T) {
	c := newClock()
	cfg := onDisk(t, c)
	r := run(t, cfg)
	client := firmav1connect.NewAuthorityServiceClient(h2c(t), r.URL(), connect.WithGRPC())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := client.WatchRevocations(ctx, connect.NewRequest(&firmav1.WatchRevocationsRequest{
		Credentials: &firmav1.SidecarCredentials{PreSharedKey: string(key)}}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.ResponseHeader().Get(wire.HeaderReplay); got != "0" {
		t.Fatalf("announced %q", got)
	}
	for _, id := range []string{"ctok_1", "ctok_2", "ctok_3"} {
		if err := authority.Revoke(cfg.RevocationFile, id, "", 0, c.Now()); err != nil {
			t.Fatal(err)
		}
		c.look(t, 1)
		if !s.Receive() || s.Msg().GetTokenId() != id {
			t.Fatalf("got %v (%v), want %s", s.Msg(), s.Err(), id)
		}
	}
}

// The bundle comes again before it is stale, and is not compiled again.
func TestBundleIsRefreshed(t *testing.T) {
	server, client := newClock(), newClock()
	cfg := inMemory()
	cfg.Now, cfg.After, cfg.BundleTTL = server.Now, server.After, 30*time.Second
	to := towards(run(t, cfg))
	to.Now, to.After = client.Now, client.After
	u := start(t, to)
	b, until := u.Bundle()
	if want := client.Now().Add(30 * time.Second); !until.Equal(want) {
		t.Errorf("fresh until %v, want %v", until, want)
	}
	client.advance(10 * time.Second)
	server.expect(t, "the refresh", exactly(10*time.Second))
	server.advance(10 * time.Second)
	eventually(t, "freshness is extended", func() bool { _, later := u.Bundle(); return later.After(until) })
	if again, _ := u.Bundle(); again != b {
		t.Error("an unchanged bundle was compiled again")
	}
}

// Cut off, the Sidecar keeps what it has, which ends by itself; when the
// Authority is back it recovers without a restart.
func TestOutage(t *testing.T) {
	c := newClock()
	cfg := onDisk(t, c)
	cfg.BundleTTL = 30 * time.Second
	r := run(t, cfg)
	log := new(logged)
	to := towards(r)
	mine := newClock()
	to.Now, to.After, to.Log = mine.Now, mine.After, log.logger()
	u := start(t, to)
	_, until := u.Bundle()

	r.stop()
	backoff := mine.expect(t, "the reconnect", func(d time.Duration) bool { return d <= uplink.DefaultMinBackoff })
	if backoff < uplink.DefaultMinBackoff/2 {
		t.Errorf("first backoff %v", backoff)
	}
	if _, refusal := u.Tokens().Select("s-1", "code.read", call(t), mine.Now(), 0, u.Revoked); refusal != nil {
		t.Errorf("a valid capability is refused during an outage: %v", refusal)
	}
	mine.advance(time.Hour)
	if _, refusal := u.Tokens().Select("s-1", "code.read", call(t), mine.Now(), 0, u.Revoked); refusal == nil || refusal.Reason != "CapabilityExpired" {
		t.Errorf("after its expiry: %v", refusal)
	}
	if _, still := u.Bundle(); !still.Equal(until) || !mine.Now().After(still) {
		t.Errorf("the bundle is fresh until %v although nothing was heard", still)
	}

	cfg.Listen, cfg.Now, cfg.After = r.Addr, mine.Now, time.After
	run(t, cfg)
	eventually(t, "everything is fresh again", func() bool {
		mine.advance(time.Second)
		_, fresh := u.Bundle()
		_, refusal := u.Tokens().Select("s-1", "code.read", call(t), mine.Now(), 0, u.Revoked)
		return fresh.After(mine.Now()) && refusal == nil
	})
}

// A capability is renewed while the old one is still good.
func TestRenewal(t *testing.T) {
	c := newClock()
	cfg := inMemory()
	cfg.Now, cfg.BundleTTL = c.Now, 24*time.Hour
	to := towards(run(t, cfg))
	to.Now, to.After = c.Now, c.After
	u := start(t, to)
	first, refusal := u.Tokens().Select("s-1", "code.read", call(t), c.Now(), 0, u.Revoked)
	if refusal != nil {
		t.Fatal(refusal)
	}
	for {
		tok, refusal := u.Tokens().Select("s-1", "code.read", call(t), c.Now(), 0, u.Revoked)
		if refusal != nil {
			t.Fatalf("without a capability %v before the first one's end: %v", first.Expiry.Sub(c.Now()), refusal)
		}
		if tok.TokenID != first.TokenID {
			break
		}
		// 900 s: renewed after 540 s, in naps of at most 15 s.
		if c.Now().Sub(first.IssuedAt) > 545*time.Second {
			eventually(t, "the renewal arrives", func() bool {
				tok, refusal := u.Tokens().Select("s-1", "code.read", call(t), c.Now(), 0, u.Revoked)
				return refusal == nil && tok.TokenID != first.TokenID
			})
			break
		}
		d := c.expect(t, "a nap", func(d time.Duration) bool { return d <= 15*time.Second && d > time.Second })
		c.advance(d)
	}
	if elapsed := c.Now().Sub(first.IssuedAt); elapsed < 530*time.Second {
		t.Errorf("renewed after %v, want about 540s", elapsed)
	}
}
