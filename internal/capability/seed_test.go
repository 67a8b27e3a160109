package capability

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
	"firma/internal/verdict"
)

func seed(t testing.TB) Seed {
	t.Helper()
	raw, err := Sign(key, claims())
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Verify(pub, raw, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	return NewSeed(tok)
}

func TestSeedRoundTrip(t *testing.T) {
	want := seed(t)
	got, err := ParseSeed("seed.toml", want.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-written +read)\n%s", diff)
	}
	tok, err := got.Token(pub, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(claims(), tok.Claims); diff != "" {
		t.Errorf("(-issued +read)\n%s", diff)
	}
}

// The file is the contract's: flat, these keys, these types.
func TestSeedFile(t *testing.T) {
	s := seed(t)
	got := string(s.Marshal())
	want := "raw_token = '" + s.RawToken + "'\n" +
		"token_id = 'ctok_01'\nagent_id = 'local-dev'\nsession_id = 's1'\n" +
		"action_set = ['code.read', 'communication.external.send']\nresource_scope = '*'\n" +
		"issued_at = '2026-11-23T12:00:00Z'\nexpiry = '2026-11-23T12:15:00Z'\ncontext_hash = '" + strings.Repeat("ab", 32) + "'\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSeedMirror(t *testing.T) {
	tests := map[string]func(*Seed){
		"token_id":       func(s *Seed) { s.TokenID = "ctok_02" },
		"agent_id":       func(s *Seed) { s.AgentID = "" },
		"session_id":     func(s *Seed) { s.SessionID = "s2" },
		"action_set":     func(s *Seed) { s.ActionSet = append(s.ActionSet, "repo.admin") },
		"resource_scope": func(s *Seed) { s.ResourceScope = "api.x.com" },
		"issued_at":      func(s *Seed) { s.IssuedAt = "2026-11-23T12:00:01Z" },
		"expiry":         func(s *Seed) { s.Expiry = "2036-11-23T12:15:00Z" },
		"context_hash":   func(s *Seed) { s.ContextHash = strings.ToUpper(s.ContextHash) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := seed(t)
			change(&s)
			tok, err := s.Token(pub, noon, 0)
			if e := refusal(t, err); tok != nil || e.Reason != verdict.CapabilityInvalid || !strings.Contains(e.Detail, name) {
				t.Errorf("Token = %v, %v", tok, err)
			}
		})
	}
	same := map[string]func(*Seed){
		"an offset":  func(s *Seed) { s.Expiry = "2026-11-23T13:15:00+01:00" },
		"a fraction": func(s *Seed) { s.IssuedAt = "2026-11-23T12:00:00.000Z" },
	}
	for name, change := range same {
		s := seed(t)
		change(&s)
		if _, err := s.Token(pub, noon, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeedVerifies(t *testing.T) {
	s := seed(t)
	if _, err := s.Token(pub, noon.Add(time.Hour), 0); refusal(t, err).Reason != verdict.CapabilityExpired {
		t.Errorf("expired: %v", err)
	}
	other := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	if _, err := s.Token(other, noon, 0); refusal(t, err).Reason != verdict.CapabilityInvalid {
		t.Errorf("another key: %v", err)
	}
	if _, err := (Seed{}).Token(pub, noon, 0); refusal(t, err).Reason != verdict.CapabilityInvalid {
		t.Errorf("zero: %v", err)
	}
}

func TestParseSeedErrors(t *testing.T) {
	ok := string(seed(t).Marshal())
	tests := map[string]struct{ text, want string }{
		"empty":            {"", "raw_token is missing"},
		"no token":         {"token_id = 'x'\n", "raw_token is missing"},
		"unknown key":      {ok + "Admin = true\n", "10:1: unknown key"},
		"unknown table":    {ok + "[extra]\nx = 1\n", "unknown key"},
		"a key twice":      {ok + "agent_id = 'x'\n", ""},
		"wrong type":       {strings.Replace(ok, "token_id = 'ctok_01'", "token_id = 5", 1), "2:12"},
		"a date":           {strings.Replace(ok, "'2026-11-23T12:15:00Z'", "2026-11-23T12:15:00Z", 1), "8:10"},
		"actions as text":  {strings.Replace(ok, "['code.read', 'communication.external.send']", "'code.read'", 1), "5:14"},
		"not TOML":         {"raw_token: v4\n", "1:10"},
		"not UTF-8":        {"raw_token = '\xff'\n", ""},
		"more than 64 KiB": {ok + "#" + strings.Repeat("x", 64<<10), "bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseSeed("dir/seed.toml", []byte(tt.text))
			if fault.NameOf(err) != "CapabilitySeedInvalid" || !strings.Contains(err.Error(), "dir/seed.toml") || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("ParseSeed = %+v, %v", got, err)
			}
			if strings.Contains(err.Error(), "v4.public") {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
}

func FuzzParseSeed(f *testing.F) {
	f.Add(seed(f).Marshal())
	f.Add([]byte("raw_token = \"\"\"\nx\"\"\"\naction_set = [\"a\", \"b\"]\n"))
	f.Add([]byte("[a]\nb = 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSeed("seed.toml", data)
		if err != nil {
			if fault.NameOf(err) != "CapabilitySeedInvalid" {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseSeed("again.toml", s.Marshal())
		if err != nil {
			t.Fatalf("what was read can't be written: %v\n%q", err, s)
		}
		if len(s.ActionSet) == 0 { // TOML has no nil array
			s.ActionSet, again.ActionSet = nil, nil
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatal(diff)
		}
		if tok, err := s.Token(pub, noon, 0); err == nil && tok.Raw != seed(t).RawToken {
			t.Fatalf("forged: %+v", tok)
		}
	})
}
