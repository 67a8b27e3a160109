package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firma/internal/testkit/account"
	"firma/internal/testkit/freeport"
	"firma/internal/testkit/origin"
	"firma/internal/testkit/transcript"
	"firma/internal/testkit/world"
)

// deadline is how long anything may take that a test waits for.
const deadline = 40 * time.Second

// stage is one account's world with an origin its agents may or may not reach.
// record is what the origin saw.
type record = origin.Record

type stage struct {
	*world.World
	t      *testing.T
	origin *origin.Origin
	serial *atomic.Int64
}

func TestMain(m *testing.M) {
	world.OwnSignals()
	os.Exit(m.Run())
}

func everyone(t *testing.T, story func(t *testing.T, s *stage)) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) {
			o, err := origin.Start(origin.Options{Plain: "127.0.0.1:0", TLS: "127.0.0.1:0", Names: []string{"tls.test"}})
			must(t, err)
			t.Cleanup(func() { _ = o.Close() })
			s := &stage{World: world.New(t, a), t: t, origin: o, serial: new(atomic.Int64)}
			s.write("run.toml", "")
			s.write("rules.toml", rules)
			story(t, s)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rules: plain.test may be read and written, evil.test is administration, which the
// dev posture forbids.
const rules = `version = 2

[[rules]]
method = "GET"
host = "plain.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "POST"
host = "plain.test"
path = "/**"
action_class = "code.write"

[[rules]]
host = "evil.test"
action_class = "repo.admin"
`

// write makes a file of the account, 0600, below the world.
func (s *stage) write(name, text string) string {
	s.t.Helper()
	p := filepath.Join(s.Base, name)
	dir := filepath.Dir(p)
	must(s.t, errors.Join(os.MkdirAll(dir, 0o755), s.Account.Own(dir)))
	temp := p + ".new"
	must(s.t, errors.Join(os.WriteFile(temp, []byte(text), 0o600), s.Account.Own(temp), os.Rename(temp, p)))
	return p
}

// fresh is a new directory of the account, 0700.
func (s *stage) fresh(name string) string {
	s.t.Helper()
	p := filepath.Join(s.Base, fmt.Sprintf("%s-%d", name, s.serial.Add(1)))
	must(s.t, errors.Join(os.Mkdir(p, 0o700), s.Account.Own(p)))
	return p
}

// base is the configuration of a Sidecar that reaches the stage's origin; listen is
// the lines of its interceptor.
func (s *stage) base(listen string) string {
	at := s.origin.PlainAddr().String()
	return "[sidecar.interceptor]\n" + listen + "\n[sidecar.mapping]\nrules_path = \"rules.toml\"\n" +
		fmt.Sprintf("[sidecar.egress.hosts]\n\"plain.test\" = %q\n\"evil.test\" = %q\n", at, at)
}

const anyPort = "listen_addr = \"127.0.0.1:0\""

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	addr, err := freeport.Address()
	must(t, err)
	return addr
}

// process is a firma that runs while the test talks to it.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err *transcript.Transcript
	over     chan struct{}
}

// start begins a command of firma in a state directory. It is killed at the end of
// the test.
func (s *stage) start(state string, env []string, args ...string) *process {
	s.t.Helper()
	return s.startCommand(s.command(state, env, args...))
}

func (s *stage) startCommand(c world.Command) *process {
	s.t.Helper()
	p := &process{t: s.t, out: transcript.New(), err: transcript.New(), over: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cmd = s.Prepare(ctx, c)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	var err error
	p.in, err = p.cmd.StdinPipe()
	must(s.t, err)
	must(s.t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		p.out.Close()
		p.err.Close()
		close(p.over)
	}()
	s.t.Cleanup(func() { cancel(); <-p.over })
	return p
}

func (s *stage) command(state string, env []string, args ...string) world.Command {
	return world.Command{Args: append([]string{s.Firma}, args...), Env: append([]string{"FIRMA_STATE_DIR=" + state}, env...)}
}

// firma runs a command of firma to its end.
func (s *stage) firma(state string, args ...string) world.Outcome {
	s.t.Helper()
	return s.Run(s.t, s.command(state, nil, args...))
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(sig))
}

// end waits for the end and returns the exit status, -1 after a signal.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.over:
	case <-time.After(deadline):
		p.t.Fatalf("%q did not end\n%s", p.cmd.Args, p)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) wantEnd(code int, words ...string) {
	p.t.Helper()
	if got := p.end(); got != code {
		p.t.Errorf("status %d, want %d\n%s", got, code, p)
	}
	for _, w := range words {
		if !strings.Contains(p.err.String(), w) {
			p.t.Errorf("it did not say %q\n%s", w, p)
		}
	}
}

func (p *process) String() string { return "stdout: " + p.out.String() + "\nstderr: " + p.err.String() }

// says waits until the process has written text to stderr.
func (p *process) says(text string) {
	p.t.Helper()
	if p.err.Wait(0, text) < 0 {
		p.t.Fatalf("%q was not said\n%s", text, p)
	}
}

// side is a Sidecar that stands alone.
type side struct {
	*process
	s      *stage
	state  string
	config string
	listen string // as a flag of firma run takes it
	addr   string // "ip:port" or a path
	health string // "ip:port"
}

// alone starts a Sidecar with a configuration and waits until it is ready.
func (s *stage) alone(config string) *side {
	s.t.Helper()
	d := s.begin(s.fresh("state"), config)
	d.says("msg=ready")
	d.addr = listening.FindStringSubmatch(d.err.String())[1]
	d.listen = "tcp://" + d.addr
	if filepath.IsAbs(d.addr) {
		d.listen = "unix://" + d.addr
	}
	return d
}

var listening = regexp.MustCompile(`msg="interceptor listening".* addr=(\S+)`)

// begin starts one without waiting.
func (s *stage) begin(state, config string) *side {
	s.t.Helper()
	d := &side{s: s, state: state, health: free(s.t), config: s.write("side.toml", config)}
	d.process = s.start(state, nil, "sidecar", "-c", d.config, "--health-bind-addr", d.health)
	return d
}

// get asks for a URL as a client of the port itself; proxied says through which
// Sidecar, nil for none.
func get(t testing.TB, through *side, method, url string) (int, string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	if through != nil {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			network := "tcp"
			if filepath.IsAbs(through.addr) {
				network = "unix"
			}
			return (&net.Dialer{}).DialContext(ctx, network, through.addr)
		}
	}
	r, err := http.NewRequest(method, url, nil)
	must(t, err)
	if through != nil {
		r.URL.Opaque = url // absolute form, as to a proxy
	}
	res, err := (&http.Client{Transport: tr, Timeout: deadline}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, strings.TrimSpace(string(body))
}

func (d *side) healthz() (int, string) { return get(d.t, nil, "GET", "http://"+d.health+"/healthz") }

// verify is firma audit verify over the Sidecar's logs.
func (d *side) verify() world.Outcome { return d.s.firma(d.state, "audit", "verify") }

func (d *side) wantSealed() {
	d.t.Helper()
	if o := d.verify(); o.Code != 0 || !strings.HasPrefix(o.Stdout, "OK ") {
		d.t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
}

// events are all that the Sidecar recorded.
func (d *side) events() []world.Event {
	d.t.Helper()
	w := *d.s.World
	w.State = d.state
	return w.Since(d.t, nil)
}
