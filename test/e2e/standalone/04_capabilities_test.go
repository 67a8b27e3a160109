package standalone

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"firma/internal/testkit/world"
)

// TestMirrorMismatch: each readable field of a seed that differs from its token
// refuses the start.
func TestMirrorMismatch(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		data, err := os.ReadFile(c.issue("s-1"))
		must(t, err)
		for key, value := range map[string]string{"token_id": "'ctok_x'", "agent_id": "'other'", "session_id": "'other'", "action_set": "['code.read']",
			"resource_scope": "'plain.test'", "issued_at": "'2020-01-01T00:00:00Z'", "expiry": "'2099-01-01T00:00:00Z'", "context_hash": "'00'"} {
			text := regexp.MustCompile(`(?m)^`+key+` = .*$`).ReplaceAllString(string(data), key+" = "+value)
			path := s.write("mirror.toml", text)
			o := s.Run(t, world.Command{Args: []string{s.Firma, "sidecar", "-c", s.write("refused.toml", c.seeded(anyPort, path)), "--health-bind-addr", "127.0.0.1:0"},
				Env: []string{"FIRMA_STATE_DIR=" + s.fresh("state")}})
			if text == string(data) || o.Code != 1 || !strings.Contains(o.Stderr, "CapabilitySeedInvalid") || !strings.Contains(o.Stderr, key) {
				t.Errorf("%s: status %d\n%s", key, o.Code, o.Stderr)
			}
		}
	})
}

// TestForeignSeed: a seed that another key signed, or whose signature was changed,
// starts nothing.
func TestForeignSeed(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		data, err := os.ReadFile(c.issue("s-1"))
		must(t, err)
		raw := regexp.MustCompile(`raw_token = '([^']+)'`).FindSubmatch(data)[1]
		forged := slices.Clone(raw)
		at := len("v4.public.") + 40
		forged[at] ^= 'A' ^ 'B'
		for name, path := range map[string]string{
			"another key":     s.plane("").issue("s-1"),
			"a changed token": s.write("forged.toml", strings.Replace(string(data), string(raw), string(forged), 1)),
		} {
			for _, through := range [][]string{{"--sidecar", d.listen}, {"--sidecar", "local", "--authority", "local"}} {
				o := s.Run(t, s.command(d.state, nil, append(append([]string{"run", "--config", s.write("seeded.toml", c.seeded(anyPort)),
					"--capability-file", path}, through...), "--", "echo", "executed")...))
				if o.Code != 125 || o.Stdout != "" || !strings.Contains(o.Stderr, "firma: error: CapabilitySeedInvalid: ") && !strings.Contains(o.Stderr, "firma: error: CapabilityInvalid: ") {
					t.Errorf("%s, %q: status %d\n%s", name, through, o.Code, o.Stderr)
				}
			}
		}
	})
}

// TestHotReload: a rewritten seed is taken; a bad rewrite keeps the one before.
func TestHotReload(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		seed := c.issue("s-1", "--action", "code.write")
		d := s.alone(c.seeded(anyPort, seed))
		if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 403 || !strings.Contains(body, "CapabilityNotFound") {
			t.Errorf("before: %d %s", code, body)
		}
		c.issueTo(seed, "s-1")
		d.says("capability seeds reloaded")
		if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 200 {
			t.Errorf("reloaded: %d %s", code, body)
		}
		foreign, err := os.ReadFile(s.plane("").issue("s-1", "--action", "repo.admin"))
		must(t, err)
		for _, bad := range []string{"raw_token = 'none'\n", string(foreign)} {
			from := len(d.err.String())
			must(t, os.WriteFile(seed, []byte(bad), 0o600))
			if d.err.Wait(from, "capability seeds not reloaded") < 0 {
				t.Fatal(d)
			}
			if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 200 {
				t.Errorf("after a bad rewrite: %d %s", code, body)
			}
		}
	})
}

// TestStageOne: what a capability does not cover is refused, and the agent, the log
// and the summary are told the same reason.
func TestStageOne(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		for _, w := range []struct {
			reason, url string
			flags       []string
			then        func(seed string)
		}{
			{"CapabilityNotFound", "http://plain.test/bytes/3", []string{"--action", "code.write"}, nil},
			{"CapabilityScopeMismatch", "http://plain.test/bytes/3", []string{"--resource-scope", "plain.test/other"}, nil},
			{"CapabilityRevoked", "http://plain.test/bytes/3", nil, func(seed string) {
				if o := s.firma(c.state, "authority", "-c", c.config, "revocations", "add", tokenID(s, seed)); o.Code != 0 {
					t.Fatal(o.Stderr)
				}
			}},
			{"CapabilityExpired", "http://plain.test/bytes/3", []string{"--ttl-seconds", "4"}, func(string) {}},
		} {
			seed := c.issue("session-"+w.reason, w.flags...)
			a := s.agent(d, nil, "--capability-file", seed)
			if w.then != nil {
				w.then(seed)
			}
			got := a.curl(w.url)
			for end := time.Now().Add(time.Minute); w.then != nil && !strings.HasPrefix(got, "403") && time.Now().Before(end); {
				got = a.curl(w.url) // until it is known, or over, however many calls that takes
			}
			if !strings.HasPrefix(got, "403 ") || !strings.Contains(got, `"reason":"`+w.reason+`"`) {
				t.Errorf("the agent was told %s, want %s", got, w.reason)
			}
			if a.leave(); !strings.Contains(a.err.String(), w.reason) {
				t.Errorf("the summary lacks %s\n%s", w.reason, a)
			}
			found := false
			for _, e := range world.Refusals(d.events()) {
				found = found || e.Reason == w.reason && e.SessionID == "session-"+w.reason
			}
			if !found {
				t.Errorf("%s is not recorded", w.reason)
			}
		}
	})
}
