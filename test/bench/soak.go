//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"firma/test/load"
)

// soak drives a standalone Sidecar and a run for a while and wants them to end up
// holding what they held, with logs that verify.
func soak(args []string) error {
	e := &env{}
	f := flag.NewFlagSet("soak", flag.ExitOnError)
	f.StringVar(&e.firma, "firma", "bin/firma", "the firma to drive")
	duration := f.Duration("duration", 30*time.Minute, "how long")
	if err := f.Parse(args); err != nil {
		return err
	}
	raiseLimit()
	var err error
	if e.firma, err = filepath.Abs(e.firma); err != nil {
		return err
	}
	if e.dir, err = os.MkdirTemp("", "firma-soak-"); err != nil {
		return err
	}
	defer os.RemoveAll(e.dir)
	end, err := e.begin()
	if err != nil {
		return err
	}
	defer end()
	return e.soak(*duration)
}

func (e *env) soak(d time.Duration) error {
	s, err := e.start(proxies[0])
	if err != nil {
		return err
	}
	alone, err := watch("standalone Sidecar", s.cmd.Process.Pid, filepath.Join(e.dir, "firma.log"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	run, project, err := e.churning(d)
	if err != nil {
		return err
	}
	churn := &load.Churn{Path: s.path, Inside: s.inside, Name: inside, Hello: e.hello}
	traffic := make(chan error, 1)
	go func() { traffic <- churn.Run(ctx) }()
	var inside *watched
	for at := time.NewTicker(max(d/120, time.Second)); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case <-at.C:
			alone.sample()
			if pid := sidecarOf(run.Process.Pid); inside == nil && pid != 0 {
				inside, _ = watch("Sidecar of the run", pid, filepath.Join(e.dir, runLog))
			} else if inside != nil {
				inside.sample()
			}
		}
	}
	errs := []error{<-traffic}
	fmt.Println("standalone:", churn)
	if err := run.Wait(); err != nil {
		wrote, _ := os.ReadFile(filepath.Join(e.dir, runLog))
		errs = append(errs, fmt.Errorf("the run: %w\n%s", err, wrote))
	}
	said, _ := os.ReadFile(filepath.Join(project, "churn"))
	fmt.Printf("in the run: %s\n", said)
	time.Sleep(2 * time.Second) // connections that were reset are noticed
	errs = append(errs, alone.verdict(true))
	if inside == nil {
		errs = append(errs, errors.New("the run's Sidecar was not found"))
	} else {
		errs = append(errs, inside.verdict(false))
	}
	s.stop()
	for _, state := range []string{"state", "run-state"} {
		cmd := exec.Command(e.firma, "audit", "verify", "--state-dir", filepath.Join(e.dir, state))
		out, err := cmd.CombinedOutput()
		fmt.Printf("%s", out)
		if err != nil {
			errs = append(errs, fmt.Errorf("audit verify: %w", err))
		}
	}
	return errors.Join(errs...)
}

const runLog = "run.log"

// churning starts firma run with this program inside.
func (e *env) churning(d time.Duration) (*exec.Cmd, string, error) {
	project := filepath.Join(e.dir, "project")
	bench, err := e.plant(project)
	if err != nil {
		return nil, "", err
	}
	argv, err := e.firmaRun([]string{bench, "churn", host, host + ":443", inside + ":443", d.String()})
	if err != nil {
		return nil, "", err
	}
	out, err := os.Create(filepath.Join(project, "churn"))
	if err != nil {
		return nil, "", err
	}
	defer out.Close()
	log, err := os.Create(filepath.Join(e.dir, runLog))
	if err != nil {
		return nil, "", err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = project, out, log
	cmd.Env = append(os.Environ(), "FIRMA_STATE_DIR="+filepath.Join(e.dir, "run-state"))
	return cmd, project, cmd.Start()
}

// churn is what runs inside.
func churn(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: bench churn HOST TUNNEL INTERCEPTED DURATION, with HTTP_PROXY set")
	}
	p, err := load.ThroughEnv(os.Getenv("HTTP_PROXY"), args[0], args[1])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	within := p
	within.Tun = args[2]
	c := &load.Churn{Path: p, Inside: within, Name: inside, Hello: load.Hello(host), Names: true}
	err = c.Run(ctx)
	fmt.Println(c)
	return err
}

func sidecarOf(pid int) int {
	for _, p := range load.Tree(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p))
		if strings.Contains(string(b), "firma\x00sidecar") {
			return p
		}
	}
	return 0
}

// watched is a process and what it held over time.
type watched struct {
	name, log  string
	pid        int
	before     load.State
	seen       []load.State
	goroutines []int64 // as it says itself, asked one sample ago
}

func watch(name string, pid int, log string) (*watched, error) {
	s, err := load.Look(pid)
	return &watched{name: name, pid: pid, before: s, log: log}, err
}

func (w *watched) sample() {
	if s, err := load.Look(w.pid); err == nil {
		w.seen = append(w.seen, s)
	}
	said, _ := os.ReadFile(w.log)
	if all := goroutines.FindAllSubmatch(said, -1); len(all) > 0 {
		n, _ := strconv.ParseInt(string(all[len(all)-1][1]), 10, 64)
		w.goroutines = append(w.goroutines, n)
	}
	_ = syscall.Kill(w.pid, syscall.SIGUSR1)
}

var goroutines = regexp.MustCompile(`goroutines=(\d+)`)

const (
	growth = 1.15    // of the last third over the second one
	slack  = 4 << 20 // bytes on top: a garbage collector is not exact
)

// verdict compares the last third of the time with the second: the first is for
// warming up. At rest, descriptors are what they were, but for kept connections.
func (w *watched) verdict(atRest bool) error {
	third := len(w.seen) / 3
	if third == 0 {
		return fmt.Errorf("%s: too few samples", w.name)
	}
	var errs []error
	for _, m := range []struct {
		what  string
		of    func(load.State) int64
		slack int64
	}{
		{"resident bytes", func(s load.State) int64 { return s.RSS }, slack},
		{"descriptors", func(s load.State) int64 { return int64(s.FDs) }, 20},
		{"threads", func(s load.State) int64 { return int64(s.Threads) }, 4},
	} {
		var v []int64
		for _, s := range w.seen {
			v = append(v, m.of(s))
		}
		errs = append(errs, w.flat(m.what, v, m.of(w.before), m.slack))
	}
	errs = append(errs, w.flat("goroutines", w.goroutines, 0, 60))
	if atRest {
		time.Sleep(rest)
	}
	if now, err := load.Look(w.pid); atRest && err == nil {
		fmt.Printf("%s: at rest %d descriptors, %.1f MB\n", w.name, now.FDs, mb(now.RSS))
		if now.FDs > w.before.FDs+20 {
			errs = append(errs, fmt.Errorf("%s: %d descriptors stay open", w.name, now.FDs-w.before.FDs))
		}
	}
	return errors.Join(errs...)
}

// flat compares the thirds of what was seen.
func (w *watched) flat(what string, seen []int64, before, slack int64) error {
	third := len(seen) / 3
	if third == 0 {
		return fmt.Errorf("%s: too few samples of %s", w.name, what)
	}
	first, mid, end := median(seen[:third]), median(seen[third:2*third]), median(seen[2*third:])
	fmt.Printf("%s: %s at first %d, thirds %d, %d, %d\n", w.name, what, before, first, mid, end)
	if float64(end) > float64(mid)*growth+float64(slack) {
		return fmt.Errorf("%s: %s grow", w.name, what)
	}
	return nil
}

func median(v []int64) int64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
