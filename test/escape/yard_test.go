package escape

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"firma/internal/testkit/account"
	"firma/internal/testkit/canary"
	"firma/internal/testkit/origin"
	"firma/internal/testkit/world"
)

// yard is one account's world with everything in it that a try could reach.
type yard struct {
	*world.World
	canary   string
	probe    string
	baits    *canary.Yard
	origin   *origin.Origin
	config   string // allows loopback origins under test names
	keptCA   keptCA
	captured string       // config, and names that lead to baits
	h2c      string       // a server of HTTP/2 without TLS
	asked    atomic.Int32 // how often it was asked

	tcp4, tcp6, udp4, udp6, dns string
	lan                         []string // this host's other addresses, TCP
	sockets                     []string // paths of stream sockets outside the project
	dgram                       string   // a datagram socket in the project
	inside                      string   // a stream socket in the project
	abstract                    string
	sleeper                     string // pid of a process of the same account
}

func newYard(t *testing.T, a account.Account) *yard {
	t.Helper()
	y := &yard{World: world.New(t, a), canary: canary.Value(), baits: &canary.Yard{}}
	t.Cleanup(func() { _ = y.baits.Close() })
	y.probe = filepath.Join(y.Project, "probe")
	world.CopyProgram(t, builtProbe, filepath.Join(y.Base, "bin", "probe"))
	must(t, os.MkdirAll(filepath.Join(y.Project, "socks"), 0o755))
	y.startBaits(t)
	y.startOrigin(t)
	y.startSleeper(t)
	must(t, canary.Plant(y.State, map[string]string{"earlier": y.canary}))
	must(t, y.Account.OwnTree(y.State))
	t.Cleanup(y.sweep)
	y.reset(t)
	return y
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (y *yard) startBaits(t *testing.T) {
	t.Helper()
	tcp := func(name, addr string) string {
		a, err := y.baits.TCP(name, addr)
		must(t, err)
		return a.String()
	}
	udp := func(name, addr string) string {
		a, err := y.baits.UDP(name, addr)
		must(t, err)
		return a.String()
	}
	y.tcp4, y.tcp6 = tcp("tcp4", "127.0.0.1:0"), tcp("tcp6", "[::1]:0")
	y.udp4, y.udp6 = udp("udp4", "127.0.0.1:0"), udp("udp6", "[::1]:0")
	everywhere, err := netip.ParseAddrPort(tcp("everywhere", "[::]:0"))
	must(t, err)
	for _, a := range hostAddresses() {
		y.lan = append(y.lan, netip.AddrPortFrom(a, everywhere.Port()).String())
	}
	dns, err := y.baits.DNS("dns", "127.0.0.1:0")
	must(t, err)
	y.dns = dns.String()
	y.unixBaits(t)
}

func (y *yard) unixBaits(t *testing.T) {
	t.Helper()
	unique := filepath.Base(y.Base)
	for name, path := range map[string]string{
		"docker in home": filepath.Join(y.Base, "docker.sock"),
		"tmp":            "/tmp/bait-" + unique + ".sock",
		"runtime":        filepath.Join(y.Runtime, "bait.sock"),
		"bus":            filepath.Join(y.Runtime, "bus"),
		"keyring":        filepath.Join(y.Runtime, "keyring"),
		"agent":          filepath.Join(y.Runtime, "ssh-agent"),
	} {
		must(t, y.baits.Unix(name, path))
		must(t, y.Account.Own(path))
		y.sockets = append(y.sockets, path)
	}
	if os.Getuid() == 0 {
		y.runBaits(t, unique)
	}
	y.inside = filepath.Join(y.Project, "socks", "stream")
	must(t, y.baits.Unix("project", y.inside))
	y.dgram = filepath.Join(y.Project, "socks", "dgram")
	must(t, y.baits.UnixDatagram("project datagram", y.dgram))
	y.abstract = "@bait-" + unique
	must(t, y.baits.Unix("abstract", y.abstract))
}

// runBaits puts sockets where daemons have theirs; the Docker socket only where
// no Docker is.
func (y *yard) runBaits(t *testing.T, unique string) {
	t.Helper()
	path := "/run/bait-" + unique + ".sock"
	must(t, y.baits.Unix("run", path))
	y.sockets = append(y.sockets, path)
	if _, err := os.Lstat("/run/docker.sock"); errors.Is(err, os.ErrNotExist) {
		must(t, y.baits.Unix("docker", "/run/docker.sock"))
		y.sockets = append(y.sockets, "/run/docker.sock", "/var/run/docker.sock")
	}
}

// hostAddresses are this machine's addresses beyond loopback.
func hostAddresses() []netip.Addr {
	var found []netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			found = append(found, p.Addr())
		}
	}
	return found
}

// names that resolve to the origin where a configuration says so. The wrong ones
// do too: a request that slips through must arrive somewhere it can be seen.
var originNames = []string{"allowed.test", "evil.test", "evilallowed.test", "allowed.test.evil.test",
	"sub.allowed.test", "xallowed.test", "denied.test"}

func (y *yard) startOrigin(t *testing.T) {
	t.Helper()
	o, err := origin.Start(origin.Options{Plain: "127.0.0.1:0", TLS: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(func() { _ = o.Close() })
	y.origin = o
	text := "[sidecar.egress]\nallowed_cidrs = [\"127.0.0.1/32\"]\n[sidecar.egress.hosts]\n"
	for _, n := range originNames {
		text += strconv.Quote(n) + " = " + strconv.Quote(o.PlainAddr().String()) + "\n"
	}
	y.config = filepath.Join(y.Base, "firma.toml")
	must(t, os.WriteFile(y.config, []byte(text), 0o644))
	y.keptCA = newKeptCA(t, y, text)
	y.captured = newCaptured(t, y, text)
}

// startSleeper starts a process of the account that holds the canary in its
// environment: what a try against another process aims at.
func (y *yard) startSleeper(t *testing.T) {
	t.Helper()
	program := filepath.Join(y.Base, "bin", "sleep")
	world.CopyProgram(t, "/bin/sleep", program)
	must(t, y.Account.Own(program))
	cmd := exec.Command(program, "3600")
	cmd.Env = []string{"SECRET=" + y.canary}
	y.Account.Apply(cmd)
	must(t, cmd.Start())
	y.sleeper = strconv.Itoa(cmd.Process.Pid)
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// reset puts the files back as they were, so that what a control did outside is
// not found inside.
func (y *yard) reset(t *testing.T) {
	t.Helper()
	clear(t, y.Home, "project")
	clear(t, y.Project, "socks")
	clear(t, y.Tmp, "")
	must(t, canary.Plant(y.Home, canary.Secrets(y.canary)))
	must(t, canary.Plant(y.Project, map[string]string{
		"README": "a project\n", "src/main.c": "int main;\n",
		".git/HEAD": "ref: refs/heads/main\n", ".git/config": "[core]\n\tbare = false\n",
		".git/hooks/sample": "", ".git/info/exclude": "", ".git/objects/x": "", ".git/refs/x": "",
		".vscode/tasks.json": "{}\n", "other/x": "",
	}))
	must(t, os.Symlink(y.Home, filepath.Join(y.Project, "hostlink")))
	world.CopyProgram(t, filepath.Join(y.Base, "bin", "probe"), y.probe)
	must(t, y.Account.OwnTree(y.Home))
	y.setuidCopy(t)
}

// setuidCopy is a program that gives its caller another user: root to an ordinary
// account, nobody to root.
func (y *yard) setuidCopy(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	path := filepath.Join(y.Project, "setuid")
	world.CopyProgram(t, filepath.Join(y.Base, "bin", "probe"), path)
	owner := 0
	if !y.Account.Ordinary() {
		owner = 65534
	}
	must(t, errors.Join(os.Chown(path, owner, owner), os.Chmod(path, os.ModeSetuid|0o755)))
}

func clear(t *testing.T, dir, keep string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() != keep {
			must(t, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
}

// sweep takes away what only a missing wall lets a try leave in the host's /tmp.
func (y *yard) sweep() {
	for _, p := range []string{"/tmp/probe-link-" + y.canary, "/tmp/h3-" + y.canary} {
		_ = os.Remove(p)
	}
}

// snapshot is what the host's files look like; the state and runtime directories
// are firma's to write.
func (y *yard) snapshot(t *testing.T) canary.Tree {
	t.Helper()
	tree, err := canary.Snapshot(y.Base, func(path string) bool {
		return path == y.State || path == y.Runtime || strings.HasPrefix(path, filepath.Join(y.Home, ".cache"))
	})
	must(t, err)
	return tree
}

// in returns a path in the project, home one in the home.
func (y *yard) in(elem ...string) string {
	return filepath.Join(append([]string{y.Project}, elem...)...)
}
func (y *yard) home(elem ...string) string {
	return filepath.Join(append([]string{y.Home}, elem...)...)
}

// sleeperAlive checks the bait process: still there, neither stopped nor ended.
func (y *yard) sleeperAlive(t *testing.T) {
	t.Helper()
	pid, err := strconv.Atoi(y.sleeper)
	must(t, err)
	if err := unix.Kill(pid, 0); err != nil {
		t.Errorf("ESCAPED     the process outside is gone: %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o644))
}

func itoa(n int) string { return strconv.Itoa(n) }
