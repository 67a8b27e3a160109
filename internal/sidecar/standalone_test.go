//go:build unix

package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"firma/internal/attach"
	"firma/internal/audit"
	"firma/internal/ca"
	"firma/internal/capability"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/ids"
)

const (
	testRules = `version = 2
[[rules]]
method = "GET"
host = "plain.test"
path = "/**"
action_class = "code.read"
[[rules]]
method = "GET"
host = "other.test"
path = "/**"
action_class = "code.read"
`
	// Five calls a session.
	testPolicies = `@id("p") permit (principal, action, resource);
@id("loop") forbid (principal, action, resource) when { context.action_count > 5 };
`
	testSecret = "a secret that both of them know!"
)

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// alone is a Sidecar under test, with an origin behind it.
type alone struct {
	t      *testing.T
	o      Options
	log    *lines
	listen string
	health string
	stop   context.CancelFunc
	over   chan error
	hold   chan struct{} // closed to let /slow answer
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func settingsFor(t *testing.T, dir string) (Options, *alone) {
	t.Helper()
	a := &alone{t: t, log: &lines{}, over: make(chan error, 1), hold: make(chan struct{})}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-a.hold
		}
		fmt.Fprint(w, "from the origin")
	}))
	t.Cleanup(origin.Close)
	id := ids.New(ids.Sidecar)
	return Options{
		ConfigPath: "/etc/firma.toml", Session: "own", Agent: "local-dev", Policies: []byte(testPolicies), Secret: testSecret,
		Listen: control.Endpoint{Network: "tcp", Address: "127.0.0.1:0"}, Health: "127.0.0.1:0", Drain: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(a.log, nil)),
		Start: &control.SidecarStart{
			SandboxID: id, DefaultProtected: true, RulesFiles: []control.RulesFile{{Name: "rules.toml", Data: []byte(testRules)}},
			Hosts:   map[string]string{"plain.test": origin.Listener.Addr().String(), "other.test": origin.Listener.Addr().String()},
			SeedKey: testKey.Public().(ed25519.PublicKey), AuditLog: filepath.Join(dir, "audit", id+".jsonl"),
			AuditDir: filepath.Join(dir, "audit"), AuditKey: filepath.Join(dir, "keys", "audit.key"),
		},
	}, a
}

func startAlone(t *testing.T, change func(*Options)) *alone {
	t.Helper()
	o, a := settingsFor(t, t.TempDir())
	if change != nil {
		change(&o)
	}
	ready := make(chan struct{})
	o.Ready = func(listen, health string) {
		a.listen, a.health = listen, health
		close(ready)
	}
	a.o = o
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() { a.over <- Serve(ctx, o) }()
	select {
	case <-ready:
	case err := <-a.over:
		t.Fatalf("%v\n%s", err, a.log)
	}
	t.Cleanup(func() { a.end() })
	return a
}

func (a *alone) end() error {
	a.stop()
	err, open := <-a.over
	if open {
		close(a.over)
	}
	return err
}

func (a *alone) release() {
	select {
	case <-a.hold:
	default:
		close(a.hold)
	}
}

// get asks the port itself.
func (a *alone) get(target string) (int, string) {
	a.t.Helper()
	proxy := &url.URL{Scheme: "http", Host: a.listen}
	c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
	res, err := c.Get(target)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func (a *alone) healthz() (int, string) {
	a.t.Helper()
	res, err := http.Get("http://" + a.health + "/healthz")
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// capability is a seed for a session: code.read on plain.test.
func seedFor(t *testing.T, session, scope string) []byte {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	c := capability.Claims{TokenID: ids.New(ids.Token), AgentID: "local-dev", SessionID: session, ActionSet: []string{"code.read"},
		ResourceScope: scope, IssuedAt: now, Expiry: now.Add(time.Hour)}
	raw, err := capability.Sign(testKey, c)
	if err != nil {
		t.Fatal(err)
	}
	return capability.NewSeed(&capability.Token{Claims: c, Raw: raw}).Marshal()
}

func staged(t *testing.T, session string) func(*Options) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.toml")
	if err := os.WriteFile(path, seedFor(t, session, "plain.test"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Start.Seeds, o.Start.SeedReload = []string{path}, true }
}

// run attaches as firma run does.
func (a *alone) run(session string, seeds ...[]byte) (*attach.Run, error) {
	a.t.Helper()
	e := attach.Endpoint{Network: a.o.Listen.Network, Address: a.listen}
	r, err := attach.Dial(context.Background(), e, testSecret)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { r.Close() })
	if m, err := r.Recv(); err != nil || m.Kind != control.KindTrust || m.Trust == nil {
		a.t.Fatalf("%+v, %v", m, err)
	}
	m := &control.Attach{SandboxID: ids.New(ids.Sandbox), SessionID: session, AgentID: "local-dev", Profile: "generic", Posture: []byte("{}"), Transparent: true}
	for _, s := range seeds {
		m.Seeds = append(m.Seeds, control.RulesFile{Name: "seed", Data: s})
	}
	if err := r.Send(control.Message{Kind: control.KindStart, Attach: m}); err != nil {
		a.t.Fatal(err)
	}
	answer, err := r.Recv()
	if err != nil {
		a.t.Fatal(err)
	}
	if answer.Failure != nil {
		return nil, answer.Failure.Err()
	}
	if answer.Kind != control.KindReady {
		a.t.Fatalf("%+v", answer)
	}
	return r, nil
}

func (a *alone) mustRun(session string, seeds ...[]byte) *attach.Run {
	a.t.Helper()
	r, err := a.run(session, seeds...)
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

// fetch asks over one of the run's own connections.
func fetch(t *testing.T, r *attach.Run, target string, fields ...string) (int, string) {
	t.Helper()
	conn, err := r.Open(context.Background(), attach.Relay)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u, _ := url.Parse(target)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", target, u.Host, strings.Join(fields, ""))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// The startup contract: seven INFO lines in order, with their fields, ready last.
func TestStartupLines(t *testing.T) {
	a := startAlone(t, nil)
	var got []string
	for line := range strings.Lines(a.log.String()) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), "level=INFO msg=")
		got = append(got, rest)
	}
	want := []string{
		`"config loaded" path=/etc/firma.toml`, `"mapping table loaded" rules=2`, `"policy bundle loaded" version=`, `"authority stream connected" endpoint=(disabled)`,
		`"connector registry built" hosts=2 default_timeout_ms=600000`, `"interceptor listening" addr=` + a.listen, `ready`,
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines:\n%s", len(got), a.log)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("line %d is %q, want %q", i+1, got[i], want[i])
		}
	}
	if !strings.HasSuffix(got[2], " policies=2") {
		t.Errorf("%q", got[2])
	}
}

func TestHealth(t *testing.T) {
	o, a := settingsFor(t, t.TempDir())
	h, err := serveHealth(o.Health, func() bool { return a.listen != "" })
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	a.health = h.addr()
	check := func(when string, want int, text string) {
		t.Helper()
		if code, body := a.healthz(); code != want || body != text {
			t.Errorf("%s: %d %q", when, code, body)
		}
	}
	check("before it serves", 503, "not ready\n")
	h.set(true)
	check("serving, and not ready", 503, "not ready\n")
	a.listen = "x"
	check("ready", 200, "ok\n")
	h.set(false)
	check("draining", 503, "not ready\n")
	for _, path := range []string{"/", "/healthz/", "/healthz/x", "/metrics"} {
		res, err := http.Get("http://" + a.health + path)
		if err != nil || res.StatusCode != 404 {
			t.Errorf("%s: %v %v", path, res, err)
		}
	}
	if res, err := http.Post("http://"+a.health+"/healthz", "", nil); err != nil || res.StatusCode != 404 {
		t.Errorf("POST: %v %v", res, err)
	}
	if code, body := startAlone(t, nil).healthz(); code != 200 || body != "ok\n" {
		t.Errorf("a Sidecar: %d %q", code, body)
	}
}

// The port's own clients are decided by what is staged for the Sidecar, whatever
// they say about themselves.
func TestDirectClients(t *testing.T) {
	a := startAlone(t, staged(t, "own"))
	if code, body := a.get("http://plain.test/a"); code != 200 || body != "from the origin" {
		t.Errorf("%d %s", code, body)
	}
	if code, body := a.get("http://other.test/a"); code != 403 || !strings.Contains(body, "CapabilityScopeMismatch") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := a.get("http://" + a.health + "/healthz"); code != 403 || !strings.Contains(body, "DestinationForbidden") {
		t.Errorf("firma's own listener: %d %s", code, body)
	}
	b := startAlone(t, staged(t, "somebody else's"))
	if code, body := b.get("http://plain.test/a"); code != 403 || !strings.Contains(body, "CapabilityNotFound") {
		t.Errorf("%d %s", code, body)
	}
}

// Runs on one Sidecar share nothing: neither capabilities nor the counters that
// policies limit them by, and no header makes one the other.
func TestRunsShareNothing(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			stage := staged(t, "one")
			a := startAlone(t, func(o *Options) {
				stage(o)
				if network == "unix" {
					o.Listen = control.Endpoint{Network: "unix", Address: filepath.Join(t.TempDir(), "s.sock")}
				}
			})
			one, two := a.mustRun("one"), a.mustRun("two", seedFor(t, "two", "other.test"))
			none := a.mustRun("three")
			for range 5 {
				if code, body := fetch(t, one, "http://plain.test/a"); code != 200 {
					t.Fatalf("%d %s", code, body)
				}
			}
			if code, body := fetch(t, one, "http://plain.test/a"); code != 403 || !strings.Contains(body, `"CapabilityScopeMismatch"`) || !strings.Contains(body, "action_count") {
				t.Errorf("the sixth call of a tight loop: %d %s", code, body)
			}
			if code, body := fetch(t, two, "http://other.test/a"); code != 200 {
				t.Errorf("another run pays for it: %d %s", code, body)
			}
			spoof := "x-firma-session-id: one\r\n"
			if code, body := fetch(t, two, "http://plain.test/a", spoof, "x-firma-sandbox-id: sbx_1\r\n"); code != 403 || !strings.Contains(body, "CapabilityScopeMismatch") {
				t.Errorf("a header changed the session: %d %s", code, body)
			}
			if code, body := fetch(t, none, "http://plain.test/a", spoof); code != 403 || !strings.Contains(body, "CapabilityNotFound") {
				t.Errorf("a run without a capability: %d %s", code, body)
			}
		})
	}
}

// A second run can't join the session of one that is under way, and can once it
// has ended.
func TestSessionInUse(t *testing.T) {
	a := startAlone(t, staged(t, "one"))
	first := a.mustRun("one")
	if _, err := a.run("one"); fault.NameOf(err) != "SessionInUse" {
		t.Errorf("%v", err)
	}
	if err := first.Send(control.Message{Kind: control.KindLaunch, Launch: &control.Launch{Executable: "/bin/true", Dir: "/"}}); err != nil {
		t.Fatal(err)
	}
	if m, err := first.Recv(); err != nil || m.Kind != control.KindRecorded {
		t.Fatalf("%+v %v", m, err)
	}
	fetch(t, first, "http://plain.test/a")
	fetch(t, first, "http://nowhere.test/a")
	if err := first.Send(control.Message{Kind: control.KindEnd, End: &control.End{ExitCode: 3, Cause: "exit"}}); err != nil {
		t.Fatal(err)
	}
	m, err := first.Recv()
	if err != nil || m.Summary == nil || len(m.Summary.Counts) != 2 || m.Summary.Log != a.o.Start.AuditLog {
		t.Fatalf("%+v %v", m.Summary, err)
	}
	if _, err := first.Recv(); err == nil {
		t.Error("the line outlived the run")
	}
	a.mustRun("one") // the line is closed after the session's place is free
}

func TestBadRuns(t *testing.T) {
	a := startAlone(t, nil)
	forged := bytes.Replace(seedFor(t, "s", "plain.test"), []byte("session_id = 's'"), []byte("session_id = 't'"), 1)
	for name, tt := range map[string]struct {
		session string
		seed    []byte
		want    string
	}{
		"a seed of another session": {"s", seedFor(t, "t", "*"), "CapabilitySeedInvalid"},
		"a forged mirror":           {"t", forged, "CapabilitySeedInvalid"},
		"no seed at all":            {"s", []byte("x = 1"), "CapabilitySeedInvalid"},
		"no session":                {"", nil, "ConfigValidation"},
		"a session of two words":    {"a b", nil, "ConfigValidation"},
		"an endless session":        {strings.Repeat("s", 257), nil, "ConfigValidation"},
	} {
		var seeds [][]byte
		if tt.seed != nil {
			seeds = append(seeds, tt.seed)
		}
		if _, err := a.run(tt.session, seeds...); fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	r, err := attach.Dial(context.Background(), attach.Endpoint{Network: "tcp", Address: a.listen}, testSecret)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Send(control.Message{Kind: control.KindEnd}); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Recv(); err != nil || m.Kind != control.KindTrust {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := r.Recv(); err != nil || m.Failure == nil {
		t.Errorf("a run that never started: %+v %v", m, err)
	}
}

// What a run is told first is the certificate that the Sidecar issues from, and
// nothing where it looks into nothing; never the key.
func TestTrustIsTold(t *testing.T) {
	authority, err := ca.New(ca.RunLifetime)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.DER()
	if err != nil {
		t.Fatal(err)
	}
	for _, enabled := range []bool{false, true} {
		a := startAlone(t, func(o *Options) { o.Start.Intercept = control.Intercept{Enabled: enabled, CACert: cert, CAKey: key} })
		r, err := attach.Dial(context.Background(), attach.Endpoint{Network: "tcp", Address: a.listen}, testSecret)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m, err := r.Recv()
		if err != nil || m.Trust == nil || bytes.Equal(m.Trust.CACert, cert) != enabled {
			t.Fatalf("%v: %+v, %v", enabled, m, err)
		}
		if all, _ := json.Marshal(m); bytes.Contains(all, []byte(base64.StdEncoding.EncodeToString(key))) {
			t.Error("the key was told")
		}
	}
}

// The Sidecar answers the sandbox's names, by its own mapping.
func TestNames(t *testing.T) {
	a := startAlone(t, nil)
	r := a.mustRun("one")
	for name, want := range map[string]dnsmessage.RCode{"plain.test.": dnsmessage.RCodeSuccess, "nowhere.test.": dnsmessage.RCodeNameError} {
		got := resolve(t, r, name)
		if got.RCode != want || (len(got.Answers) == 1) != (want == dnsmessage.RCodeSuccess) {
			t.Errorf("%s: %v", name, got.GoString())
		}
	}
}

// resolve asks for an IPv4 address as the run's sandbox does.
func resolve(t *testing.T, r *attach.Run, name string) (got dnsmessage.Message) {
	t.Helper()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	packet, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := r.Open(context.Background(), attach.DNS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 2)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(head))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	if err := got.Unpack(answer); err != nil {
		t.Fatal(err)
	}
	return got
}

// At the end, calls under way may finish; the log is sealed and holds the end of
// every session.
func TestDrain(t *testing.T) {
	a := startAlone(t, staged(t, "own"))
	r := a.mustRun("two")
	type answer struct {
		code int
		body string
	}
	slow := make(chan answer, 1)
	go func() {
		code, body := a.get("http://plain.test/slow")
		slow <- answer{code, body}
	}()
	arrived := func() bool { return a.sessionCalls() > 0 }
	for end := time.Now().Add(10 * time.Second); !arrived() && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	a.stop()
	for { // it takes no more
		conn, err := net.Dial("tcp", a.listen)
		if err != nil {
			break
		}
		conn.Close()
	}
	a.release()
	if got := <-slow; got.code != 200 || got.body != "from the origin" {
		t.Errorf("a call under way: %+v", got)
	}
	if err := a.end(); err != nil {
		t.Error(err)
	}
	for {
		m, err := r.Recv()
		if err != nil {
			break // the run was told nothing more, or its summary
		}
		if m.Kind != control.KindSummary {
			t.Errorf("%+v", m)
		}
	}
	a.verified()
	data, err := os.ReadFile(a.o.Start.AuditLog)
	if err != nil || bytes.Count(data, []byte(`"kind":"run.start"`)) != 2 || bytes.Count(data, []byte(`"kind":"run.end"`)) != 2 {
		t.Errorf("%v\n%s", err, data)
	}
	if !strings.Contains(a.log.String(), "audit log sealed") {
		t.Error(a.log)
	}
}

// verified fails unless the log is whole.
func (a *alone) verified() {
	a.t.Helper()
	key, err := audit.LoadPublicKey(a.o.Start.AuditKey + audit.PublicSuffix)
	if err != nil {
		a.t.Fatal(err)
	}
	rep, err := audit.Verify(audit.VerifyOptions{Path: a.o.Start.AuditLog, Key: key, CheckpointDir: filepath.Join(a.o.Start.AuditDir, "checkpoints")})
	if err != nil || !rep.OK() {
		a.t.Errorf("%v\n%s", err, rep.Text())
	}
}

// sessionCalls is how many calls the origin has been asked, by the log.
func (a *alone) sessionCalls() int {
	data, _ := os.ReadFile(a.o.Start.AuditLog)
	return bytes.Count(data, []byte(`"outcome":"ALLOW"`)) - bytes.Count(data, []byte(`"kind":"run.start"`))
}

// A call that does not end is cut when the time is over, and at once when told so.
func TestDrainTimeout(t *testing.T) {
	hurry := make(chan struct{})
	for name, change := range map[string]func(*Options){
		"timeout": func(o *Options) { o.Drain = 50 * time.Millisecond },
		"hurry":   func(o *Options) { o.Drain, o.Hurry = time.Hour, hurry },
	} {
		stage := staged(t, "own")
		a := startAlone(t, func(o *Options) {
			stage(o)
			change(o)
		})
		cut := make(chan error, 1)
		go func() {
			c := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: a.listen})}}
			res, err := c.Get("http://plain.test/slow")
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			cut <- err
		}()
		for end := time.Now().Add(10 * time.Second); a.sessionCalls() == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		a.stop()
		if name == "hurry" {
			close(hurry)
		}
		if err := a.end(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := <-cut; err == nil {
			t.Errorf("%s: the call was not cut", name)
		}
		a.release()
	}
}

// What can't be had refuses the start and leaves nothing open.
func TestRefusedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	socket := filepath.Join(t.TempDir(), "s.sock")
	served, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	plain := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := "127.0.0.1:0"
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"port taken":         {func(o *Options) { o.Listen.Address = taken.Addr().String() }, "SidecarListenFailed"},
		"health port taken":  {func(o *Options) { o.Health = taken.Addr().String() }, "SidecarListenFailed"},
		"socket served":      {func(o *Options) { o.Listen = control.Endpoint{Network: "unix", Address: socket} }, "SidecarListenFailed"},
		"socket is a file":   {func(o *Options) { o.Listen = control.Endpoint{Network: "unix", Address: plain} }, "SidecarListenFailed"},
		"bad rules":          {func(o *Options) { o.Start.RulesFiles[0].Data = []byte("x = 1") }, ""},
		"bad policies":       {func(o *Options) { o.Policies = []byte("permit (") }, "PolicyInvalid"},
		"bad seed":           {func(o *Options) { o.Start.Seeds = []string{plain} }, "CapabilitySeedInvalid"},
		"no Authority there": {func(o *Options) { o.AuthorityURL, o.AuthorityKey = "http://127.0.0.1:1", make([]byte, 32) }, "AuthorityUnreachable"},
		"log exists":         {func(o *Options) { o.Start.AuditLog = plain }, ""},
	} {
		o, a := settingsFor(t, t.TempDir())
		o.Listen.Address = free
		tt.change(&o)
		err := Serve(context.Background(), o)
		if err == nil || tt.want != "" && fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		if strings.Contains(a.log.String(), "msg=ready") {
			t.Errorf("%s: it said that it was ready", name)
		}
	}
	if _, err := os.Stat(socket); err != nil {
		t.Error("a socket that somebody serves was removed")
	}
}

// A socket that a killed Sidecar left is replaced; only its owner can open it.
func TestLeftSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "s.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	a := startAlone(t, func(o *Options) { o.Listen = control.Endpoint{Network: "unix", Address: path} })
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	a.mustRun("one")
}
