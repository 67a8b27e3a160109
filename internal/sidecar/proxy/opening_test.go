package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

// echoing is a tunnel's far side, which passes on what it got.
func echoing(t *testing.T) (addr string, got chan string) {
	got = make(chan string, 100)
	addr, _ = listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		b := make([]byte, 64<<10)
		for {
			n, err := r.Read(b)
			if n > 0 {
				got <- string(b[:n])
				c.Write(b[:n])
			}
			if err != nil {
				return
			}
		}
	})
	return addr, got
}

// helloBytes is a ClientHello as crypto/tls's client writes it, changed by f.
func helloBytes(t *testing.T, f func(*tls.Config)) string {
	t.Helper()
	near, far := net.Pipe()
	cfg := &tls.Config{ServerName: "api.example.com"}
	if f != nil {
		f(cfg)
	}
	go tls.Client(near, cfg).Handshake()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	far.Close()
	return string(b[:n])
}

const alert = "\x15\x03\x03\x00\x02\x02\x31"

// withECH adds the extension to a hello that has others.
func withECH(hello string) string {
	b := []byte(hello)
	add := []byte{0xfe, 0x0d, 0, 1, 0}
	grow := func(at, size, by int) {
		n := 0
		for _, c := range b[at : at+size] {
			n = n<<8 | int(c)
		}
		for i := n + by; size > 0; size-- {
			b[at+size-1] = byte(i)
			i >>= 8
		}
	}
	grow(3, 2, len(add))
	grow(6, 3, len(add))
	at := 5 + 4 + 2 + 32
	at += 1 + int(b[at])
	at += 2 + int(b[at])<<8 + int(b[at+1])
	at += 1 + int(b[at])
	grow(at, 2, len(add))
	return string(b) + string(add)
}

func TestTunnelOpenings(t *testing.T) {
	good := helloBytes(t, nil)
	other := helloBytes(t, func(c *tls.Config) { c.ServerName = "evil.test" })
	silent := helloBytes(t, func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true })
	capitals := helloBytes(t, func(c *tls.Config) { c.ServerName = "API.Example.COM" })
	hidden := withECH(good)
	fragments := "\x16\x03\x01\x00\x14" + good[5:25] + "\x16\x03\x01" + string([]byte{byte((len(good) - 25) >> 8), byte(len(good) - 25)}) + good[25:]
	const web, ip, db = "api.example.com:443", "192.0.2.1:443", "api.example.com:5432"
	for name, tt := range map[string]struct {
		target, first string
		accepts       verdict.Accepts
		passes        bool
	}{
		"its own name":                 {web, good, 0, true},
		"in capitals":                  {web, capitals, 0, true},
		"in two records":               {web, fragments, 0, true},
		"with early data behind":       {web, good + "\x17\x03\x03\x00\x01x", 0, true},
		"another name":                 {web, other, 0, false},
		"another name, accepted":       {web, other, verdict.AcceptAnySNI, true},
		"another name, other accepted": {web, other, verdict.AcceptECH | verdict.AcceptMissingSNI | verdict.AcceptNonTLS, false},
		"no name":                      {web, silent, 0, false},
		"no name, accepted":            {web, silent, verdict.AcceptMissingSNI, true},
		"no name to an address":        {ip, silent, 0, true},
		"a name to an address":         {ip, good, 0, false},
		"ECH":                          {web, hidden, 0, false},
		"ECH, accepted":                {web, hidden, verdict.AcceptECH, true},
		"HTTP":                         {web, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", 0, false},
		"HTTP, accepted":               {web, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", verdict.AcceptNonTLS, true},
		"ssh":                          {web, "SSH-2.0-x\r\n", 0, false},
		"a hello of another kind":      {web, "\x16\x03\x01\x00\x04\x02\x00\x00\x00", 0, false},
		"another kind, accepted":       {web, "\x16\x03\x01\x00\x04\x02\x00\x00\x00", verdict.AcceptNonTLS, true},
		"an old hello":                 {web, "\x80\x2e\x01\x03\x01", 0, false},
		"HTTP elsewhere":               {db, "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", 0, true},
		"bytes of nothing elsewhere":   {db, "\x16\x01\x00\x00\x07\x00\x00\x00", 0, true},
		"an odd version elsewhere":     {db, other[:1] + "\x04\x00" + other[3:], 0, false},
		"the same, accepted":           {db, other[:1] + "\x04\x00" + other[3:], verdict.AcceptNonTLS, true},
		"an alert before it elsewhere": {db, "\x15\x03\x01\x00\x02\x01\x64" + other, 0, false},
		"an odd alert elsewhere":       {db, "\x15\x00\x00\x00\x02\x01\x00" + good, 0, false},
		"an old hello elsewhere":       {db, "\x80\x2e\x01\x03\x01", 0, false},
		"no alert elsewhere":           {db, "\x15\x03\x01\x00\x02\x03\x64", 0, true},
		"its own name elsewhere":       {db, good, 0, true},
		"another name elsewhere":       {db, other, 0, false},
	} {
		for _, at := range []int{0, 1, 6} {
			t.Run(name, func(t *testing.T) {
				addr, got := echoing(t)
				e := &enforcer{strict: true, accepts: tt.accepts, ended: make(chan Dispatch, 1)}
				_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
				c := connectTo(t, proxy)
				at := min(at, len(tt.first)) // behind the head come so many bytes at once
				c.send("CONNECT " + tt.target + " HTTP/1.1\r\nHost: " + tt.target + "\r\n\r\n" + tt.first[:at])
				c.expect(established)
				c.send(tt.first[at:])
				if tt.passes {
					c.expect(tt.first)
					c.send("and more")
					c.expect("and more")
					c.CloseWrite()
					c.expectEOF()
					if d := receive(t, e.ended); d.Abort != verdict.None || d.RequestBytes != int64(len(tt.first)+8) || d.ResponseBytes != d.RequestBytes {
						t.Errorf("%+v", d)
					}
					return
				}
				if strings.HasPrefix(tt.first, "\x16\x03") {
					c.expect(alert)
				}
				c.CloseWrite()
				io.Copy(io.Discard, c.r)
				host := strings.TrimSuffix(tt.target, ":443")
				e.untilLast(t, "refuse "+host+" after ALLOW: MalformedRequest")
				if diff := cmp.Diff([]string{"ALLOW CONNECT " + host, "refuse " + host + " after ALLOW: MalformedRequest"}, e.take()); diff != "" {
					t.Error(diff)
				}
				if len(got) > 0 {
					t.Errorf("sent upstream: %q", <-got)
				}
				if len(e.ended) > 0 {
					t.Error("and a dispatch was recorded")
				}
			})
		}
	}
}

// untilLast waits until the last entry is want.
func (e *enforcer) untilLast(t *testing.T, want string) {
	t.Helper()
	if !e.until(func(log []string) bool { return len(log) > 0 && log[len(log)-1] == want }) {
		t.Errorf("no %q", want)
	}
}

// TestSlowTunnelOpening: a ClientHello must come within the time of a head, from
// its first byte; a client that says nothing may take its time.
func TestSlowTunnelOpening(t *testing.T) {
	addr, got := echoing(t)
	e := &enforcer{strict: true}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, HeadTimeout: 50 * time.Millisecond})
	c := connectTo(t, proxy)
	c.send(connectReq)
	c.expect(established)
	slow := connectTo(t, proxy)
	slow.send("G")
	io.Copy(io.Discard, slow.r) // it was cut: the time of a head has passed
	c.send("\x16\x03\x01")
	c.expect(alert)
	c.CloseWrite()
	io.Copy(io.Discard, c.r)
	e.untilLast(t, "refuse api.example.com after ALLOW: MalformedRequest")
	if len(got) > 0 {
		t.Errorf("sent upstream: %q", <-got)
	}
}

// TestServerSpeaksFirst: a tunnel whose client waits for the server works, and so
// does one that is closed before anything was said.
func TestServerSpeaksFirst(t *testing.T) {
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
			io.WriteString(c, "220 ready\r\n")
			io.Copy(c, r)
		})
		e := &enforcer{strict: true, ended: make(chan Dispatch, 1)}
		_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
		for _, says := range []string{"EHLO x\r\n", ""} {
			c := connectTo(t, proxy)
			c.send("CONNECT mail.example.com:25 HTTP/1.1\r\nHost: mail.example.com:25\r\n\r\n")
			c.expect(established + "220 ready\r\n")
			c.send(says)
			c.expect(says)
			c.CloseWrite()
			c.expectEOF()
			if d := receive(t, e.ended); d.Abort != verdict.None {
				t.Errorf("%+v", d)
			}
		}
	})
}

// TestTLSTunnel: real TLS through a tunnel that is held to its name.
func TestTLSTunnel(t *testing.T) {
	ca := newCertAuthority(t)
	leaf, err := ca.For("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}})
		io.Copy(tc, tc)
	})
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: &enforcer{strict: true}})
	for _, name := range []string{"api.example.com", "evil.test"} {
		c := connectTo(t, proxy)
		c.send(connectReq)
		c.expect(established)
		tc := tls.Client(c.TCPConn, &tls.Config{ServerName: name, RootCAs: ca.pool})
		err := tc.Handshake()
		var op *net.OpError
		if name == "evil.test" {
			if !errors.As(err, &op) || !strings.Contains(err.Error(), "access denied") {
				t.Errorf("%v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(tc, "hello")
		b := make([]byte, 5)
		if _, err := io.ReadFull(tc, b); err != nil || string(b) != "hello" {
			t.Errorf("%q %v", b, err)
		}
		tc.Close()
	}
}
