package redirect

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own, which the test binary enters
// by starting itself again.
func TestMain(m *testing.M) {
	if os.Getenv("REDIRECT_TEST_INSIDE") != "" {
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "lo:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "REDIRECT_TEST_INSIDE=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests need user namespaces:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

func socket(t *testing.T, proto int) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRedirect is one story, since a namespace can be changed once.
func TestRedirect(t *testing.T) {
	route, netfilter := socket(t, unix.NETLINK_ROUTE), socket(t, unix.NETLINK_NETFILTER)
	ln4, ln6 := listen(t, "127.0.0.1:0"), listen(t, "[::1]:0")
	begun := time.Now()
	if err := Rules(netfilter, port(ln4), port(ln6)); err != nil {
		t.Fatal(err)
	}
	rules := time.Since(begun)
	if err := Local(route, []netip.Prefix{
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fd66:6972:6d61::/96"),
		netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8::7/128"),
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("rules %v, routes %v", rules, time.Since(begun)-rules)

	shadow := listen(t, "198.18.0.9:8080")
	servers := listen(t, "127.0.0.1:0")
	for to, by := range map[string]*net.TCPListener{
		"198.18.0.1:443": ln4, "198.19.255.254:6379": ln4, "203.0.113.7:1": ln4,
		"[fd66:6972:6d61::c612:1]:443": ln6, "[2001:db8::7]:22": ln6,
		"198.18.0.9:8080":       ln4, // although somebody listens there
		servers.Addr().String(): servers,
	} {
		got := reach(t, to, by)
		want := to
		switch by {
		case servers:
			want = "untracked"
		}
		if got != want {
			t.Errorf("%s: its destination is %s, want %s", to, got, want)
		}
	}
	_ = shadow.SetDeadline(time.Now())
	if c, err := shadow.Accept(); err == nil {
		t.Errorf("a listener inside got a connection from %s", c.RemoteAddr())
	}
	for _, ln := range []*net.TCPListener{ln4, ln6} {
		if c, err := net.Dial("tcp", ln.Addr().String()); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s itself: %v, want %v", ln.Addr(), err, unix.ECONNREFUSED)
			if err == nil {
				c.Close()
			}
		}
	}
	for _, to := range []string{"203.0.113.8:443", "192.168.1.1:80", "[2001:db8::8]:443", "[fd66:6972:6d61:1::1]:443"} {
		c, err := net.Dial("tcp", to)
		if !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("%s: %v, want %v", to, err, unix.ENETUNREACH)
		}
		if err == nil {
			c.Close()
		}
	}
	if err := Rules(netfilter, port(ln4), 0); err == nil {
		// The same table again is no error for the kernel, and no second one.
		if got := reach(t, "198.18.0.1:443", ln4); got != "198.18.0.1:443" {
			t.Errorf("after a second time: %s", got)
		}
	}
}

func listen(t *testing.T, at string) *net.TCPListener {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.(*net.TCPListener)
}

func port(ln *net.TCPListener) uint16 { return ln.Addr().(*net.TCPAddr).AddrPort().Port() }

// reach connects, accepts at by, and returns the destination that is on record.
func reach(t *testing.T, to string, by *net.TCPListener) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", to, err)
	}
	defer c.Close()
	_ = by.SetDeadline(time.Now().Add(5 * time.Second))
	got, err := by.AcceptTCP()
	if err != nil {
		t.Fatalf("%s did not arrive: %v", to, err)
	}
	defer got.Close()
	raw, err := got.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	found := "untracked"
	_ = raw.Control(func(fd uintptr) {
		if got.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			// struct sockaddr_in happens to fit in struct ipv6_mreq.
			if m, err := unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, 80); err == nil {
				b := m.Multiaddr
				found = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])).String()
			}
			return
		}
		if m, err := unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, 80); err == nil {
			found = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), m.Addr.Port<<8|m.Addr.Port>>8).String()
		}
	})
	return found
}

func TestCheck(t *testing.T) {
	for p, ok := range map[string]bool{
		"198.18.0.0/15": true, "203.0.113.7/32": true, "10.0.0.0/8": true, "2001:db8::1/128": true, "fd66:6972:6d61::/96": true, "169.254.169.254/32": false,
		"127.0.0.1/32": false, "127.0.0.0/8": false, "0.0.0.0/0": false, "0.0.0.0/32": false, "::/0": false, "::1/128": false, "224.0.0.1/32": false,
		"255.255.255.255/32": false, "fe80::1/128": false, "ff02::1/128": false, "::ffff:1.2.3.4/128": false, "198.18.0.1/15": false,
	} {
		if err := Check(netip.MustParsePrefix(p)); (err == nil) != ok {
			t.Errorf("%s: %v", p, err)
		}
	}
	if Check(netip.Prefix{}) == nil {
		t.Error("the zero prefix passes")
	}
}

func TestRefusalsAreNamed(t *testing.T) {
	route := socket(t, unix.NETLINK_ROUTE)
	if err := Local(route, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}); err == nil {
		t.Error("loopback was redirected")
	}
	var m messages
	m.route(netip.MustParsePrefix("203.0.113.9/32"))
	m.buf[16+7] = 99 // no such type of route
	if err := order(route, &m); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	} else if want := "make 203.0.113.9/32 local: invalid argument"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 20))
	f.Add([]byte{36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := messages{what: []string{"x"}}
		if n, err := m.answers(b); err == nil && n*20 > len(b) {
			t.Errorf("%d answers in %d bytes", n, len(b))
		}
	})
}
