//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firma/test/load"
)

// sandbox is a client inside a sandbox, which does one measurement after the
// other as it is told on its standard input.
type sandbox struct {
	name string
	argv func(e *env, client []string) ([]string, error)

	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	down bool
}

// measureSandboxes compares what an agent gets: the client runs inside, where the
// sandbox's own HTTP_PROXY is all it knows.
func (e *env) measureSandboxes() error {
	fmt.Printf("inside the sandbox: %d rounds of %v, %d connections\n", e.rounds, e.time, e.conns)
	project := filepath.Join(e.dir, "project")
	bench, err := e.plant(project)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(e.origin, ":")
	local := []string{bench, "client", "127.0.0.1:" + port, "127.0.0.1:" + port}
	all := []*sandbox{
		{name: "firma", argv: (*env).firmaRun},
		{name: "srt", argv: (*env).srt},
		{name: "fence", argv: (*env).fence},
	}
	t := newTable()
	for _, s := range all {
		client := local
		if s.name == "firma" {
			client = []string{bench, "client", host, host + ":443"}
		}
		if s.down = !e.wanted(s.name); s.down {
			continue
		}
		if err := s.start(e, client, project); err != nil {
			s.down = true
			fmt.Printf("  not measured: %s: %v\n", s.name, err)
			continue
		}
		defer s.stop()
	}
	for range e.rounds {
		for _, s := range all {
			for _, what := range []string{"req/s", "tunnels/s"} {
				if s.down {
					continue
				}
				v, err := s.ask(fmt.Sprintf("%s %d %d", what, e.conns, e.time.Milliseconds()))
				if err != nil {
					s.down = true
					fmt.Printf("  %s fails: %v\n", s.name, err)
					continue
				}
				t.add(s.name, what, v)
			}
		}
	}
	t.print("req/s", "tunnels/s")
	return nil
}

// plant puts this program into a project directory.
func (e *env) plant(project string) (string, error) {
	if err := os.MkdirAll(project, 0o755); err != nil {
		return "", err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	bench := filepath.Join(project, "bench")
	return bench, os.WriteFile(bench, self, 0o755)
}

func (s *sandbox) start(e *env, client []string, dir string) error {
	argv, err := s.argv(e, client)
	if err != nil {
		return err
	}
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Dir = dir
	log, err := os.Create(filepath.Join(e.dir, s.name+"-run.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stderr = log
	s.cmd.Env = append(os.Environ(), "FIRMA_STATE_DIR="+filepath.Join(e.dir, "run-state"))
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.out = bufio.NewReader(out)
	if _, err := s.ask("tunnels/s 1 1"); err != nil {
		s.stop()
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

func (s *sandbox) stop() {
	s.in.Close()
	_ = s.cmd.Wait()
}

func (s *sandbox) ask(what string) (float64, error) {
	if _, err := fmt.Fprintln(s.in, what); err != nil {
		return 0, err
	}
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if v, ok := strings.CutPrefix(line, "bench: "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
}

func (e *env) firmaRun(client []string) ([]string, error) {
	if _, err := e.write("rules.toml", rules); err != nil {
		return nil, err
	}
	conf, err := e.write("run.toml", fmt.Sprintf("[authority]\n\n[sidecar.mapping]\nrules_path = \"rules.toml\"\n\n[sidecar.interceptor.https_mitm]\nintercept_hosts = [%q]\n\n[sidecar.egress]\nca_cert_path = \"origin.pem\"\n\n[sidecar.egress.hosts]\n%q = %q\n%q = %q\n", inside, host, e.origin, inside, e.tls))
	return append([]string{e.firma, "run", "--quiet", "--config", conf, "--authority", "local", "--"}, client...), err
}

func (e *env) srt(client []string) ([]string, error) {
	conf, err := e.write("srt.json", `{"network": {"allowedDomains": ["127.0.0.1", "localhost"], "deniedDomains": []}, "filesystem": {"denyRead": [], "allowWrite": ["."], "denyWrite": []}}`)
	return []string{filepath.Join(e.peers, "node_modules/.bin/srt"), "--settings", conf, "-c", strings.Join(client, " ")}, err
}

func (e *env) fence(client []string) ([]string, error) {
	conf, err := e.write("fence.json", `{"network": {"allowedDomains": ["127.0.0.1", "localhost"]}, "filesystem": {"allowWrite": ["."]}}`)
	return append([]string{filepath.Join(e.peers, "fence"), "--settings", conf, "--"}, client...), err
}

// client is what runs inside: "req/s|tunnels/s CONNECTIONS MILLISECONDS" on each
// line of the input, "bench: RATE" on each of the output.
func client(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: bench client HOST TUNNEL, with HTTP_PROXY set")
	}
	proxy := os.Getenv("HTTP_PROXY")
	if proxy == "" {
		proxy = os.Getenv("http_proxy")
	}
	p, err := load.ThroughEnv(proxy, args[0], args[1])
	if err != nil {
		return err
	}
	hello := load.Hello(host)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := p.Ping(hello)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) { // some sandboxes start their proxy and the client at once
			return err
		}
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var what string
		var n, ms int
		if _, err := fmt.Sscan(in.Text(), &what, &n, &ms); err != nil {
			return err
		}
		r, err := load.Result{}, error(nil)
		if d := millis(ms); what == "req/s" {
			r, err = p.KeepAlive(n, d, false)
		} else {
			r, err = p.Tunnels(hello, n, d)
		}
		if err != nil {
			return err
		}
		fmt.Printf("bench: %f\n", r.Rate())
	}
	return nil
}
