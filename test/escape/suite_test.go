package escape

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"firma/internal/testkit/account"
	"firma/internal/testkit/census"
	"firma/internal/testkit/world"
)

// wall says what stands around the inside part. "firma" is the thing under test;
// "none" is the suite's own control: with nothing around it, it has to fail.
var wall = flag.String("wall", "firma", "firma, or none to see the suite fail")

var builtProbe string

func TestMain(m *testing.M) {
	flag.Parse()
	world.OwnSignals()
	dir, err := os.MkdirTemp("", "firma-probe-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	builtProbe = filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-o", builtProbe, "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the probe: %v\n%s", err, out)
		os.Exit(1)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "adopt orphans:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// accounts are who the suite runs as.
func accounts(t *testing.T) []account.Account {
	t.Helper()
	all, err := account.All()
	must(t, err)
	return all
}

// kase is one class of escapes.
type kase struct {
	id, about string
	flags     func(y *yard) []string // of firma run
	env       func(y *yard) []string // of firma run, on top of the world's
	prepare   func(t *testing.T, y *yard)
	tries     func(y *yard) []attempt
	check     func(t *testing.T, y *yard, r *ran) // more of the far side
}

func cases() []kase {
	return slices.Concat(socketCases, kernelCases, fileCases, workspaceCases, networkCases, destinationCases,
		proxyCases, credentialCases, policyCases, auditCases, captureCases)
}

// TestEscape makes every try of every case as every account.
func TestEscape(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			for _, k := range cases() {
				t.Run(k.id, func(t *testing.T) { y.run(t, k) })
			}
		})
	}
}

func (y *yard) run(t *testing.T, k kase) {
	t.Log(k.about)
	y.stage(t, k)
	tries := y.possible(t, k.tries(y))
	y.controls(t, tries)
	y.stage(t, k)
	y.baits.Reset()
	y.origin.Reset()
	before := y.snapshot(t)
	r := &ran{}
	if len(tries) > 0 {
		r = y.insideRun(t, k, tries)
	}
	reaches := false
	for i, a := range tries {
		reaches = reaches || a.want == limit
		judge(t, a, r.results[i])
		y.checkRecord(t, a, r)
	}
	if !reaches {
		y.farSide(t, k, before)
	}
	if k.check != nil {
		k.check(t, y, r)
	}
}

// possible leaves out, when there is no wall, what has no control: it may do harm.
func (y *yard) possible(t *testing.T, tries []attempt) []attempt {
	if *wall == "firma" {
		return tries
	}
	return slices.DeleteFunc(tries, func(a attempt) bool { return a.without != nil && a.without(y.Account) != "" })
}

func (y *yard) stage(t *testing.T, k kase) {
	t.Helper()
	y.reset(t)
	if k.prepare != nil {
		k.prepare(t, y)
		must(t, y.Account.OwnTree(y.Home))
		y.setuidCopy(t)
	}
}

// result is the probe's line.
type result struct {
	Technique, Result, Errno, Detail string
	Args                             []string
}

// controls makes every try outside. One that does not succeed there makes the
// case INVALID, unless this account or kernel can't have the control at all.
func (y *yard) controls(t *testing.T, tries []attempt) {
	t.Helper()
	var asked []attempt
	var batch [][]string
	for _, a := range tries {
		if a.want == allowed {
			continue
		}
		if a.without != nil {
			if why := a.without(y.Account); why != "" {
				t.Logf("no control  %v: %s", a, why)
				continue
			}
		}
		asked = append(asked, a)
		batch = append(batch, a.control())
	}
	if len(batch) == 0 {
		return
	}
	results := y.outside(t, batch)
	for i, a := range asked {
		checkControl(t, a, results[i])
	}
}

func checkControl(t *testing.T, a attempt, r result) {
	t.Helper()
	switch {
	case r.Result == "succeeded":
		t.Logf("control ok  %v: %s", a.control(), r.Detail)
	case slices.Contains(a.absent, r.Errno):
		t.Logf("no control  %v: this machine answers %s", a.control(), r.Errno)
	default:
		t.Errorf("INVALID     %v does not succeed outside: %s %s %s", a.control(), r.Result, r.Errno, r.Detail)
	}
}

func judge(t *testing.T, a attempt, r result) {
	t.Helper()
	said := fmt.Sprintf("%v: %s %s", a, r.Errno, r.Detail)
	switch {
	case r.Result == "error" || r.Result == "":
		t.Errorf("INVALID     could not be tried inside: %s", said)
	case a.want == allowed && r.Result != "succeeded":
		t.Errorf("DEAD        must work inside: %s", said)
	case a.want == refused && r.Result == "succeeded":
		t.Errorf("ESCAPED     %s", said)
	case a.want == limit && r.Result == "succeeded":
		t.Logf("LIMIT       %s (%s)", said, a.why)
	default:
		t.Logf("%-11s %s", map[string]string{"succeeded": "CONTAINED", "refused": "BLOCKED"}[r.Result], said)
	}
}

// farSide is where it is decided: no bait was touched, no file of the host changed.
func (y *yard) farSide(t *testing.T, k kase, before map[string]string) {
	t.Helper()
	for _, h := range y.baits.Hits() {
		t.Errorf("ESCAPED     a bait was reached: %s", h)
	}
	for _, name := range []string{"evil.test", "evilallowed.test", "allowed.test.evil.test", "xallowed.test", "denied.test"} {
		for _, r := range y.origin.Requests(name) {
			t.Errorf("ESCAPED     the origin was reached: %s %s%s", r.Method, r.Host, r.Path)
		}
	}
	for _, line := range y.snapshot(t).Diff(before) {
		t.Errorf("ESCAPED     a file of the host: %s", line)
	}
}

func (y *yard) outside(t *testing.T, batch [][]string) []result {
	t.Helper()
	o := y.World.Run(t, world.Command{Args: []string{y.probe, "batch", encode(t, batch)}})
	return parse(t, o, len(batch))
}

// ran is a run inside and what came of it.
type ran struct {
	world.Outcome
	results []result
	events  []world.Event
}

func (y *yard) insideRun(t *testing.T, k kase, tries []attempt) *ran {
	t.Helper()
	var batch [][]string
	for _, a := range tries {
		batch = append(batch, a.do)
	}
	r := y.firma(t, k, y.probe, "batch", encode(t, batch))
	r.results = parse(t, r.Outcome, len(batch))
	return r
}

// firma runs a command inside, behind the wall.
func (y *yard) firma(t *testing.T, k kase, command ...string) *ran {
	t.Helper()
	mark := y.Mark(t)
	before := parts(t)
	o := y.World.Run(t, y.command(k, command...))
	for _, p := range parts(t) {
		if !slices.ContainsFunc(before, func(b census.Process) bool { return b.PID == p.PID && b.Start == p.Start }) {
			t.Errorf("ESCAPED     left behind by a run that has ended: %v", p)
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
	}
	return &ran{Outcome: o, events: y.Since(t, mark)}
}

// parts are the parts of runs that are alive. This process adopts whatever loses
// its parent (TestMain), so an orphan is found here; those that have ended are
// collected.
func parts(t *testing.T) []census.Process {
	t.Helper()
	family, err := census.Hold(os.Getpid())
	must(t, err)
	defer family.Close()
	var found []census.Process
	for _, p := range family.Members {
		if p.State == "Z" && p.Parent == os.Getpid() {
			_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil)
		}
	}
	for _, word := range []string{"bwrap", "firma", "__sandbox-init"} {
		found = append(found, family.Find(word)...)
	}
	return slices.DeleteFunc(found, func(p census.Process) bool { return p.State == "Z" })
}

func (y *yard) command(k kase, command ...string) world.Command {
	c := world.Command{Args: command, Env: y.secrets()}
	if k.env != nil {
		c.Env = append(c.Env, k.env(y)...)
	}
	if *wall != "firma" {
		return c
	}
	c.Args = []string{y.Firma, "run", "--authority", "local", "--quiet"}
	if k.flags != nil {
		c.Args = append(c.Args, k.flags(y)...)
	}
	c.Args = append(append(c.Args, "--"), command...)
	return c
}

// secrets are variables of the operator that the agent must not get.
func (y *yard) secrets() []string {
	return []string{"ANTHROPIC_API_KEY=" + y.canary, "AWS_SECRET_ACCESS_KEY=" + y.canary, "GITHUB_TOKEN=" + y.canary,
		"FIRMA_BAIT=" + y.canary, "DOCKER_HOST=unix://" + filepath.Join(y.Base, "docker.sock"),
		"SSH_AUTH_SOCK=" + filepath.Join(y.Runtime, "ssh-agent"),
		"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(y.Runtime, "bus")}
}

func encode(t *testing.T, batch [][]string) string {
	t.Helper()
	data, err := json.Marshal(batch)
	must(t, err)
	return string(data)
}

func parse(t *testing.T, o world.Outcome, n int) []result {
	t.Helper()
	var all []result
	for line := range strings.Lines(o.Stdout) {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("not the probe's answer: %v\n%s\nstderr: %s", err, line, o.Stderr)
		}
		all = append(all, r)
	}
	if len(all) != n || o.Code != 0 {
		t.Fatalf("%d answers for %d tries, exit status %d\nstdout: %s\nstderr: %s", len(all), n, o.Code, o.Stdout, o.Stderr)
	}
	return all
}

// checkRecord wants a refusal in the audit log: a block without a record is a
// failure too.
func (y *yard) checkRecord(t *testing.T, a attempt, r *ran) {
	t.Helper()
	if a.recorded == "" || *wall != "firma" {
		return
	}
	for _, e := range world.Refusals(r.events) {
		if strings.Contains(e.Resource, a.recorded) && e.Reason != "" {
			t.Logf("recorded    %v as %s", a, e.Reason)
			return
		}
	}
	t.Errorf("UNRECORDED  %v: no refusal of %q among %s", a, a.recorded, told(r.events))
}

func told(events []world.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "\n  %s %s %s %s", e.Kind, e.Outcome, e.Reason, e.Resource)
	}
	return b.String()
}
