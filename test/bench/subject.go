//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"firma/test/load"
)

// host is the name that firma judges. Peers are given addresses, which is less
// work for them.
const host = "bench.test"

// env is where one run of the benchmark happens.
type env struct {
	options
	dir    string
	origin string // "host:port" that requests and tunnels reach
	tls    string // likewise, what is intercepted
	hello  []byte
}

// begin starts what all subjects reach; the function returned ends it.
func (e *env) begin() (func(), error) {
	origin, err := load.NewOrigin()
	if err != nil {
		return nil, err
	}
	secure, err := load.NewTLSOrigin(inside)
	if err != nil {
		return nil, err
	}
	e.origin, e.tls, e.hello = origin.Addr(), secure.Addr, load.Hello(host)
	_, err = e.write("origin.pem", string(secure.CA))
	return func() { origin.Close(); secure.Close() }, err
}

// inside is the name of a host that is looked into.
const inside = "inside.test"

// maker knows how to start a proxy that listens on addr.
type maker struct {
	name string
	argv func(e *env, addr string) ([]string, error)
}

var proxies = []maker{
	{"firma", (*env).firmaArgs},
	{"std", peer("std")},
	{"goproxy", peer("goproxy")},
	{"squid", (*env).squidArgs},
	{"tinyproxy", (*env).tinyproxyArgs},
	{"smokescreen", (*env).smokescreenArgs},
}

// interceptors look into every tunnel.
var interceptors = []maker{
	{"firma", (*env).firmaArgs},
	{"std-mitm", peer("std-mitm")},
	{"goproxy-mitm", peer("goproxy-mitm")},
}

// subject is one proxy under measurement.
type subject struct {
	name   string
	path   load.Path
	inside load.Path // to what is intercepted
	cmd    *exec.Cmd
	down   bool // it failed, and is measured no more
}

// start starts a proxy. Somebody else may take the port that was free: it is tried
// again with another.
func (e *env) start(m maker) (s *subject, err error) {
	for range 3 {
		if s, err = e.startOnce(m); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// startOnce starts a proxy and waits until it listens.
func (e *env) startOnce(m maker) (*subject, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	argv, err := m.argv(e, addr)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(e.dir, m.name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &subject{name: m.name, path: load.Path{Proxy: addr, Host: e.origin, Tun: e.origin}, inside: load.Path{Proxy: addr, Tun: e.tls}, cmd: exec.Command(argv[0], argv[1:]...)}
	if m.name == "firma" || m.name == against {
		s.path.Host, s.path.Tun, s.inside.Tun = host, host+":443", inside+":443"
	}
	s.cmd.Dir, s.cmd.Stderr = e.dir, log
	s.cmd.Env = append(os.Environ(), "FIRMA_STATE_DIR="+filepath.Join(e.dir, "state"))
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(5 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return s, c.Close()
		}
		if time.Now().After(end) {
			s.stop()
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("%s does not serve: %w\n%s", m.name, err, said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends it as its service manager would, then by force.
func (s *subject) stop() {
	if s == nil {
		return
	}
	_ = s.cmd.Process.Signal(os.Interrupt)
	force := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer force.Stop()
	_ = s.cmd.Wait()
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func (e *env) write(name, text string) (string, error) {
	path := filepath.Join(e.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func peer(kind string) func(*env, string) ([]string, error) {
	return func(e *env, addr string) ([]string, error) {
		return []string{filepath.Join(e.peers, "peers"), kind, addr}, nil
	}
}

func (e *env) smokescreenArgs(addr string) ([]string, error) {
	h, p, err := net.SplitHostPort(addr)
	return []string{filepath.Join(e.peers, "smokescreen"), "--listen-ip", h, "--listen-port", p, "--allow-address", "127.0.0.1"}, err
}

func (e *env) squidArgs(addr string) ([]string, error) {
	conf, err := e.write("squid.conf", "http_port "+addr+`
http_access allow all
cache deny all
access_log none
cache_log stdio:/dev/null
cache_store_log none
pid_filename none
pinger_enable off
netdb_filename none
shutdown_lifetime 1 seconds
max_filedescriptors 65536
via off
forwarded_for delete
coredump_dir none
`)
	return []string{sbin("squid"), "-N", "-f", conf}, err
}

func (e *env) tinyproxyArgs(addr string) ([]string, error) {
	h, p, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	conf, err := e.write("tinyproxy.conf", "Port "+p+"\nListen "+h+`
Timeout 600
MaxClients 1000
LogLevel Critical
DisableViaHeader Yes
`)
	return []string{sbin("tinyproxy"), "-d", "-c", conf}, err
}

// sbin finds a daemon also where an ordinary account does not look.
func sbin(name string) string {
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
