package seeds_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/sidecar/seeds"
)

var (
	key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	pub = key.Public().(ed25519.PublicKey)
	now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func seed(t *testing.T, session string, expiry time.Time) []byte {
	t.Helper()
	c := capability.Claims{TokenID: "ctok_1", AgentID: "local-dev", SessionID: session, ActionSet: []string{"code.read"},
		ResourceScope: "*", IssuedAt: now.Add(-time.Minute), Expiry: expiry}
	raw, err := capability.Sign(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return capability.NewSeed(&capability.Token{Claims: c, Raw: raw}).Marshal()
}

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	// Renamed into place, as firma authority issue does.
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func config(paths ...string) seeds.Config {
	return seeds.Config{Paths: paths, Key: pub, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	a := write(t, filepath.Join(dir, "a.toml"), seed(t, "s-a", now.Add(time.Hour)))
	b := write(t, filepath.Join(dir, "b.toml"), seed(t, "s-b", now.Add(time.Hour)))
	s, err := seeds.Load(config(a, b))
	if err != nil || s.Tokens().Len() != 2 || !s.Tokens().Holds("s-a") || !s.Tokens().Holds("s-b") || s.Tokens().Holds("s-c") {
		t.Fatalf("%v %+v", err, s)
	}
}

// Everything that is not a good seed of this issuer refuses the start.
func TestLoadRefuses(t *testing.T) {
	good := string(seed(t, "s", now.Add(time.Hour)))
	swap := func(old, replacement string) []byte { return []byte(strings.Replace(good, old, replacement, 1)) }
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)).Public().(ed25519.PublicKey)
	for name, tt := range map[string]struct {
		data       []byte
		key        ed25519.PublicKey
		want, text string
	}{
		"expired":                {seed(t, "s", now), pub, "CapabilityExpired", "expired"},
		"mirror of the session":  {swap("session_id = 's'", "session_id = 'x'"), pub, "CapabilitySeedInvalid", "session_id differs"},
		"mirror of the actions":  {swap("['code.read']", "['code.read', 'code.write']"), pub, "CapabilitySeedInvalid", "action_set differs"},
		"mirror of the scope":    {swap("resource_scope = '*'", "resource_scope = 'a.test'"), pub, "CapabilitySeedInvalid", "resource_scope differs"},
		"somebody else's":        {[]byte(good), other, "CapabilitySeedInvalid", "public key"},
		"an edited token":        {swap("v4.public.", "v4.public.A"), pub, "CapabilitySeedInvalid", ""},
		"an unknown key":         {append([]byte("extra = 1\n"), good...), pub, "CapabilitySeedInvalid", "extra"},
		"not TOML":               {[]byte("{"), pub, "CapabilitySeedInvalid", ""},
		"no key to verify with":  {[]byte(good), nil, "CapabilityKeyMissing", ""},
		"a key of another shape": {[]byte(good), pub[:31], "CapabilityKeyMissing", ""},
		"endless":                {append([]byte(good), bytes.Repeat([]byte("#\n"), 1<<20)...), pub, "CapabilitySeedInvalid", ""},
	} {
		path := write(t, filepath.Join(t.TempDir(), "s.toml"), tt.data)
		cfg := config(path)
		cfg.Key = tt.key
		_, err := seeds.Load(cfg)
		if fault.NameOf(err) != tt.want || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %s with %q", name, err, tt.want, tt.text)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent"), "/dev/zero"} {
		if _, err := seeds.Load(config(path)); fault.NameOf(err) != "CapabilityFileUnreadable" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A rewritten seed is taken; a bad rewrite changes nothing, not even in part.
func TestHotReload(t *testing.T) {
	dir := t.TempDir()
	a := write(t, filepath.Join(dir, "a.toml"), seed(t, "first", now.Add(time.Hour)))
	b := write(t, filepath.Join(dir, "b.toml"), seed(t, "other", now.Add(time.Hour)))
	cfg := config(a, b)
	tick, waits := make(chan time.Time), make(chan struct{})
	cfg.After = func(time.Duration) <-chan time.Time { waits <- struct{}{}; return tick }
	s, err := seeds.Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Watch(ctx); close(done) }()
	<-waits
	look := func() { tick <- now; <-waits } // returns once the watcher has looked

	look()
	before := s.Tokens()
	if !before.Holds("first") {
		t.Fatal("the first seed is gone")
	}
	write(t, a, seed(t, "second", now.Add(2*time.Hour)))
	look()
	if set := s.Tokens(); !set.Holds("second") || set.Holds("first") || !set.Holds("other") {
		t.Error("the rewritten seed was not taken")
	}
	write(t, a, []byte("raw_token = 'v4.public.half"))
	write(t, b, seed(t, "third", now.Add(time.Hour)))
	look()
	if set := s.Tokens(); !set.Holds("second") || !set.Holds("other") || set.Holds("third") {
		t.Error("a bad rewrite changed the set")
	}
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	look()
	if !s.Tokens().Holds("second") {
		t.Error("a removed seed changed the set")
	}
	write(t, a, seed(t, "fourth", now.Add(time.Hour)))
	look()
	if set := s.Tokens(); !set.Holds("fourth") || !set.Holds("third") {
		t.Error("good seeds were not taken after a bad rewrite")
	}
	cancel()
	<-done
}
