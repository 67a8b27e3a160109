package uplink

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/fault"
)

func valid() Config {
	return Config{
		URL: "http://[::1]:50051", PublicKey: make([]byte, 32),
		Request: &Request{AgentID: "a", SessionID: "s", Actions: []action.Class{"code.read"}},
	}
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		text   string // "" is accepted
	}{
		{"IPv6", func(*Config) {}, ""},
		{"IPv4", func(c *Config) { c.URL = "http://127.0.0.1:1" }, ""},
		{"mapped", func(c *Config) { c.URL = "http://[::ffff:127.0.0.1]:1" }, ""},
		{"localhost", func(c *Config) { c.URL = "http://localhost:1/" }, ""},
		{"no request", func(c *Config) { c.Request = nil }, ""},
		{"elsewhere, dialled here", func(c *Config) { c.URL, c.ConnectAddr = "http://authority.test:443", "127.0.0.1:1" }, ""},
		{"elsewhere, allowed", func(c *Config) { c.URL, c.AllowInsecureRemote = "http://192.0.2.1:1", true }, ""},
		{"elsewhere", func(c *Config) { c.URL = "http://192.0.2.1:1" }, "another machine"},
		{"a name", func(c *Config) { c.URL = "http://authority.test:1" }, "another machine"},
		{"here, dialled elsewhere", func(c *Config) { c.ConnectAddr = "192.0.2.1:1" }, "another machine"},
		{"any address", func(c *Config) { c.URL = "http://0.0.0.0:1" }, "another machine"},
		{"TLS", func(c *Config) { c.URL = "https://authority.test:443" }, "without TLS"},
		{"no port", func(c *Config) { c.URL = "http://[::1]" }, "not the URL"},
		{"no scheme", func(c *Config) { c.URL = "[::1]:50051" }, "not the URL"},
		{"unix", func(c *Config) { c.URL = "unix:///x" }, "not the URL"},
		{"ftp", func(c *Config) { c.URL = "ftp://[::1]:1" }, "not a scheme"},
		{"password", func(c *Config) { c.URL = "http://u:p@[::1]:1" }, "not the URL"},
		{"path", func(c *Config) { c.URL = "http://[::1]:1/x" }, "not the URL"},
		{"query", func(c *Config) { c.URL = "http://[::1]:1?x" }, "not the URL"},
		{"no public key", func(c *Config) { c.PublicKey = nil }, "32 bytes"},
		{"backoff", func(c *Config) { c.MinBackoff = time.Hour }, "reconnect_min_backoff"},
		{"negative", func(c *Config) { c.Skew = -1 }, "negative"},
		{"no agent", func(c *Config) { c.Request.AgentID = "" }, "agent"},
		{"no session", func(c *Config) { c.Request.SessionID = "" }, "session"},
		{"no action", func(c *Config) { c.Request.Actions = nil }, "action class"},
		{"bad scope", func(c *Config) { c.Request.Scope = "*.x*" }, "scope"},
		{"short ttl", func(c *Config) { c.Request.TTL = time.Millisecond }, "cannot live"},
		{"negative ttl", func(c *Config) { c.Request.TTL = -time.Hour }, "cannot live"},
		{"ratio", func(c *Config) { c.Request.RefreshRatio = 1 }, "refresh_ratio"},
		{"grace", func(c *Config) { c.Request.RefreshGrace = -1 }, "grace"},
	}
	for _, tt := range tests {
		cfg := valid()
		tt.change(&cfg)
		u, err := New(cfg)
		if u != nil {
			u.Close()
		}
		switch {
		case tt.text == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.text != "" && (fault.NameOf(err) != "ConfigValidation" || !strings.Contains(err.Error(), tt.text)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.text)
		case strings.Contains(explainedConfig(err), ":p@"):
			t.Errorf("%s: the error shows a password: %v", tt.name, err)
		}
	}
}

func explainedConfig(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestConfigOfTheCallerStaysAsItIs(t *testing.T) {
	cfg := valid()
	u, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if cfg.Request.TTL != 0 || cfg.Request.Scope != "" {
		t.Errorf("defaults were written into the caller's request: %+v", cfg.Request)
	}
}

func TestLoadPublicKey(t *testing.T) {
	dir := t.TempDir()
	for name, n := range map[string]int{"empty": 0, "short": 31, "exact": 32, "long": 33, "private": 64} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := LoadPublicKey(path)
		if (err == nil) != (n == 32) || len(key) != 0 && n != 32 {
			t.Errorf("%s: %d bytes, %v", name, len(key), err)
		}
	}
	if _, err := LoadPublicKey(filepath.Join(dir, "none")); fault.NameOf(err) != "ConfigValidation" {
		t.Errorf("got %v", err)
	}
}
