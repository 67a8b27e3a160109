package standalone

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"firma/internal/testkit/world"
)

var message = regexp.MustCompile(`level=INFO msg=("[^"]*"|\S+) process=sidecar(.*)`)

// TestStartupContract: seven lines, in order, with their fields; then calls are
// decided, and the health endpoint says so.
func TestStartupContract(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		d := s.alone(c.seeded(anyPort, c.issue("s-1")))
		var got []string
		for _, m := range message.FindAllStringSubmatch(d.err.String(), -1) {
			got = append(got, strings.Trim(m[1], `"`)+"|"+regexp.MustCompile(`=\S+`).ReplaceAllString(strings.TrimSpace(m[2]), ""))
		}
		want := []string{"config loaded|path", "mapping table loaded|rules", "policy bundle loaded|version policies",
			"authority stream connected|endpoint", "connector registry built|hosts default_timeout_ms", "interceptor listening|addr", "ready|"}
		if !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
		for _, c := range []struct {
			method, path string
			code         int
			body         string
		}{{"GET", "/healthz", 200, "ok"}, {"POST", "/healthz", 404, "not found"}, {"GET", "/", 404, "not found"}, {"GET", "/healthz/x", 404, "not found"}} {
			if code, body := get(t, nil, c.method, "http://"+d.health+c.path); code != c.code || body != c.body {
				t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, code, body, c.code, c.body)
			}
		}
		if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 200 || body != "xxx" {
			t.Errorf("allowed call: %d %s", code, body)
		}
		if code, body := get(t, d, "GET", "http://evil.test/"); code != 403 || !strings.Contains(body, `"reason":"CapabilityNotFound"`) {
			t.Errorf("refused call: %d %s", code, body)
		}
		d.signal(syscall.SIGTERM)
		d.wantEnd(0, "audit log sealed")
		d.wantSealed()
	})
}

// TestNotReadyYet: while the Authority has not answered, the health endpoint says
// 503 and no call is taken.
func TestNotReadyYet(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer silent.Close()
		c := s.plane("")
		listen := free(t)
		s.write(filepath.Base(c.state)+"/keys/authority.psk", strings.Repeat("k", 43)+"\n")
		d := s.begin(s.fresh("state"), c.led("listen_addr = \""+listen+"\"", "http://"+silent.Addr().String()))
		must(t, silent.(*net.TCPListener).SetDeadline(time.Now().Add(deadline)))
		conn, err := silent.Accept() // it asks who is there, and gets no answer
		must(t, err)
		defer conn.Close()
		d.says("mapping table loaded")
		if code, body := d.healthz(); code != 503 || body != "not ready" {
			t.Errorf("before: %d %q", code, body)
		}
		if strings.Contains(d.err.String(), "interceptor listening") {
			t.Errorf("it serves without an Authority\n%s", d)
		}
		d.signal(syscall.SIGTERM)
		d.end()
		if code, _ := d.healthz(); code != 0 {
			t.Errorf("after its end: %d", code)
		}
	})
}

// TestDrain: a call under way ends in order after SIGTERM or SIGINT; new ones are
// not taken, the log is sealed, the status is 0.
func TestDrain(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(sig.String(), func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				s.origin.Reset()
				c := s.plane("")
				d := s.alone(c.seeded(anyPort, c.issue("s-1")))
				type answer struct {
					code int
					body string
				}
				got := make(chan answer, 1)
				go func() {
					code, body := get(t, d, "GET", "http://plain.test/slow?ms=1500")
					got <- answer{code, body}
				}()
				_, err := s.origin.Wait(t.Context(), func(r record) bool { return strings.HasPrefix(r.Path, "/slow") })
				must(t, err)
				d.signal(sig)
				d.says("draining")
				if code, body := d.healthz(); code != 503 || body != "not ready" {
					t.Errorf("health while draining: %d %q", code, body)
				}
				if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 0 {
					t.Errorf("a new call was taken: %d %s", code, body)
				}
				if a := <-got; a.code != 200 || a.body == "" {
					t.Errorf("the call under way: %d %q", a.code, a.body)
				}
				d.wantEnd(0, "audit log sealed")
				d.wantSealed()
			})
		}
	})
}

// TestKilled: a log whose Sidecar was killed is unsealed, and unchanged: status 3.
// Cut short it is status 1.
func TestKilled(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		d := s.alone(c.seeded(anyPort, c.issue("s-1")))
		for range 3 {
			get(t, d, "GET", "http://plain.test/bytes/3")
		}
		d.signal(syscall.SIGKILL)
		d.end()
		if o := d.verify(); o.Code != 3 || !strings.HasPrefix(o.Stdout, "UNSEALED ") {
			t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		log, err := filepath.Glob(d.state + "/audit/*.jsonl")
		must(t, err)
		data, err := os.ReadFile(log[0])
		must(t, err)
		must(t, os.WriteFile(log[0], []byte(strings.Replace(string(data), "plain.test", "other.test", 1)), 0o600))
		if o := d.verify(); o.Code != 1 {
			t.Errorf("edited: status %d\n%s", o.Code, o.Stdout)
		}
	})
}

// TestRefusedStart: each failure has its name, status 1, and leaves nothing behind
// that listens.
func TestRefusedStart(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer taken.Close()
		c := s.plane("")
		for name, w := range map[string]struct {
			config, health string
			fault, words   string
		}{
			"address in use":   {config: s.base("listen_addr = \"" + taken.Addr().String() + "\""), fault: "SidecarListenFailed", words: taken.Addr().String()},
			"health in use":    {config: s.base(anyPort), health: taken.Addr().String(), fault: "SidecarListenFailed", words: "--health-bind-addr"},
			"no section":       {config: "[run]\nprofile = \"generic\"\n", fault: "ConfigValidation", words: "[sidecar]"},
			"no file":          {config: "-", fault: "ConfigParse", words: "missing.toml"},
			"not TOML":         {config: "[sidecar\n", fault: "ConfigParse", words: "1"},
			"unknown key":      {config: s.base(anyPort + "\nlisten = 1"), fault: "ConfigValidation", words: "listen"},
			"no rules":         {config: "[sidecar.mapping]\nrules_path = \"none.toml\"\n", fault: "ConfigValidation", words: "none.toml"},
			"bad rules":        {config: "[sidecar.mapping]\nrules_path = \"run.toml\"\n[sidecar.interceptor]\n" + anyPort, fault: "InvalidRulesFile"},
			"audit key":        {config: s.base(anyPort) + "[sidecar.audit]\nsigning_key_path = \"rules.toml\"\n", fault: "AuditKeyInvalid"},
			"no seed":          {config: c.seeded(anyPort, s.Base+"/none.toml"), fault: "CapabilityFileUnreadable", words: "none.toml"},
			"not a seed":       {config: c.seeded(anyPort, s.Base+"/rules.toml"), fault: "CapabilitySeedInvalid"},
			"seed without key": {config: strings.Replace(c.seeded(anyPort, c.issue("s")), "public_key_path", "#", 1), fault: "CapabilityKeyMissing"},
			"no Authority":     {config: c.led(anyPort, "http://"+free(t)), fault: "AuthorityUnreachable"},
			"far Authority":    {config: c.led(anyPort, "http://192.0.2.1:50051"), fault: "ConfigValidation", words: "not be encrypted"},
			"policies":         {config: s.base(anyPort) + "[sidecar.policy]\ndir = \"nowhere\"\n", fault: "ConfigValidation"},
		} {
			t.Run(name, func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				s.write(filepath.Base(c.state)+"/keys/authority.psk", strings.Repeat("k", 43)+"\n")
				path := s.write("refused.toml", w.config)
				if w.config == "-" {
					path = s.Base + "/missing.toml"
				}
				if w.health == "" {
					w.health = "127.0.0.1:0"
				}
				o := s.Run(t, world.Command{Args: []string{s.Firma, "sidecar", "-c", path},
					Env: []string{"FIRMA_STATE_DIR=" + s.fresh("state"), "FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + w.health}})
				if o.Code != 1 || !strings.Contains(o.Stderr, "firma: error: "+w.fault+": ") || !strings.Contains(o.Stderr, w.words) || strings.Contains(o.Stderr, "msg=ready") {
					t.Errorf("status %d, want 1, %s and %q\n%s", o.Code, w.fault, w.words, o.Stderr)
				}
				if !strings.Contains(o.Stderr, "firma: fix: ") {
					t.Errorf("it does not say what fixes it\n%s", o.Stderr)
				}
			})
		}
	})
}

// TestSaysItsState: SIGUSR1 ends nothing and is answered in the log.
func TestSaysItsState(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		d := s.begin(s.fresh("state"), s.base(anyPort)+"[sidecar.log]\nlevel = \"info\"\n")
		d.says("msg=ready")
		d.signal(syscall.SIGUSR1)
		d.says("state, asked for by SIGUSR1")
		if !regexp.MustCompile(`goroutines=[1-9]\d* heap_bytes=[1-9]\d* sessions=1\b`).MatchString(d.err.String()) {
			t.Error(d)
		}
		d.signal(syscall.SIGTERM)
		d.wantEnd(0)
		d.wantSealed()
	})
}

// TestWitness: an Authority that outlives the Sidecar is sent the heads of its log,
// the final one too.
func TestWitness(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		p, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		for range 3 {
			get(t, d, "GET", "http://plain.test/bytes/3")
		}
		d.signal(syscall.SIGTERM)
		d.wantEnd(0)
		sealed := regexp.MustCompile(`audit log sealed" .*path=(\S+) events=(\d+) root="?([^"\s]+)`).FindStringSubmatch(d.err.String())
		if sealed == nil {
			t.Fatal(d)
		}
		p.signal(syscall.SIGTERM)
		p.wantEnd(0)
		held := c.witnessed(t)
		origin := strings.TrimSuffix(filepath.Base(sealed[1]), ".jsonl")
		if h := held[origin]; fmt.Sprint(h.Size) != sealed[2] || base64.StdEncoding.EncodeToString(h.Root) != sealed[3] || !strings.Contains(h.Text, `kind final`) {
			t.Errorf("sealed %q, witnessed %+v", sealed[1:], held)
		}
	})
}

// TestNoWitness: an Authority that is gone takes nothing, which is said once and
// holds nothing up for long; the log is sealed all the same.
func TestNoWitness(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		p, url := c.serve()
		d := s.alone(c.led(anyPort, url))
		must(t, p.cmd.Process.Kill())
		p.end()
		d.signal(syscall.SIGTERM)
		d.wantEnd(0, "did not take a checkpoint of the audit log as a witness")
		d.wantSealed()
	})
}

// witnessed is the newest checkpoint that the plane's Authority holds of each log.
func (c *controlPlane) witnessed(t *testing.T) map[string]checkpoint {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.state, "authority", "witness.jsonl"))
	must(t, err)
	held := map[string]checkpoint{}
	for line := range strings.Lines(string(data)) {
		var h checkpoint
		must(t, json.Unmarshal([]byte(line), &h))
		held[h.Origin] = h
	}
	return held
}

type checkpoint struct {
	Origin string
	Size   uint64
	Root   []byte
	Text   string `json:"checkpoint"`
}
