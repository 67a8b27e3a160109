package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// upload is more than sockets hold, in bytes.
const upload = 32 << 20

var uploadHead = fmt.Sprintf("HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: %d\r\n\r\n", upload)

// refuseNo denies the path /no and tunnels to no.test.
func refuseNo(c *intent.Call) verdict.Decision {
	if c.Path == "/no" || c.Host == "no.test" {
		return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no"}
	}
	return verdict.Decision{Outcome: verdict.Allow}
}

// TestRefusedUpload: a client that reads only when it has sent everything finds the
// refusal, whatever was refused, in TLS and without.
func TestRefusedUpload(t *testing.T) {
	body := strings.Repeat("x", 64<<10)
	chunk := "10000\r\n" + body + "\r\n"
	chunked := "HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct {
		head, piece, status string
		most                int64
	}{
		"denied":           {"/no " + uploadHead, body, "403", 0},
		"denied, chunked":  {"/no " + chunked, chunk, "403", 0},
		"too long":         {"/ " + uploadHead, body, "413", 1 << 20},
		"too long, chunks": {"/ " + chunked, chunk, "413", 1 << 20},
		"too long a head":  {"/ HTTP/1.1\r\nHost: api.example.com\r\n", "X: " + body[:8<<10] + "\r\n", "403", 0},
		"malformed":        {"/ HTTP/1.1\r\nHost : api.example.com\r\n\r\n", body, "403", 0},
	} {
		send := func(c io.Writer) error {
			for sent := 0; sent < upload; sent += len(tt.piece) {
				if _, err := io.WriteString(c, tt.piece); err != nil {
					return fmt.Errorf("after %d bytes: %w", sent, err)
				}
			}
			return nil
		}
		swallow := func(c net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }
		t.Run(name, func(t *testing.T) {
			addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) { swallow(c, r) })
			_, at := start(t, Config{Enforcer: &enforcer{decide: refuseNo}, Dialer: dialTo(addr), MaxBody: tt.most})
			c := connectTo(t, at)
			c.send("POST http://api.example.com" + tt.head)
			if err := send(c); err != nil {
				t.Error(err)
			}
			if status, _, _ := c.response(); !strings.HasPrefix(status, "HTTP/1.1 "+tt.status) {
				t.Errorf("%q, want %s", status, tt.status)
			}
			c.expectEOF()
		})
		t.Run(name+", in TLS", func(t *testing.T) {
			w := newIntercepting(t, interceptOptions{cfg: Config{Enforcer: &enforcer{decide: refuseNo}, MaxBody: tt.most}}, swallow)
			c := w.dial(t, nil)
			c.send("POST " + tt.head)
			if err := send(c.Conn); err != nil {
				t.Error(err)
			}
			if status, _ := c.response(); !strings.HasPrefix(status, "HTTP/1.1 "+tt.status) {
				t.Errorf("%q, want %s", status, tt.status)
			}
		})
	}
}

// TestAnsweredUpload: what an upstream answers in the middle of an upload arrives, too.
func TestAnsweredUpload(t *testing.T) {
	addr, _ := listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		readHead(r)
		io.WriteString(c, "HTTP/1.1 507 Full\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		c.CloseWrite()
		io.CopyN(io.Discard, r, 1<<20)
	})
	e := &enforcer{ended: make(chan Dispatch, 1)}
	_, at := start(t, Config{Enforcer: e, Dialer: dialTo(addr), LingerIdle: time.Hour, Linger: time.Hour})
	c := connectTo(t, at)
	c.send("POST http://api.example.com/ " + uploadHead)
	for sent := 0; sent < upload; sent += 1 << 20 {
		c.send(strings.Repeat("x", 1<<20))
	}
	if status, _, _ := c.response(); status != "HTTP/1.1 507 Full" {
		t.Error(status)
	}
	if d := receive(t, e.ended); d.Status != 507 { // though the client is still there
		t.Errorf("%+v", d)
	}
}

// refused is a client that has read its refusal in the middle of an upload.
func refused(t *testing.T, at string) *rawClient {
	t.Helper()
	c := connectTo(t, at)
	c.send("POST http://api.example.com/no " + uploadHead + "x")
	if status, _, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Fatal(status)
	}
	c.expectEOF()
	return c
}

// isCut waits until the connection is gone, saying something now and then.
func (c *rawClient) isCut() {
	c.t.Helper()
	for {
		if _, err := io.WriteString(c, "x"); err != nil {
			if isTimeout(err) {
				c.t.Error("it is still there")
			}
			return
		}
		time.Sleep(time.Millisecond) // a trickle
	}
}

// TestTrickle: who goes on and on is cut, as is who says nothing or sends too much.
func TestTrickle(t *testing.T) {
	cfg := Config{Enforcer: &enforcer{decide: refuseNo}, Dialer: neverDial(t)}
	t.Run("goes on", func(t *testing.T) {
		cfg := cfg
		cfg.Linger, cfg.LingerIdle = 100*time.Millisecond, time.Hour
		_, at := start(t, cfg)
		refused(t, at).isCut()
	})
	t.Run("says nothing", func(t *testing.T) {
		cfg := cfg
		cfg.Linger, cfg.LingerIdle = time.Hour, 50*time.Millisecond
		s, at := start(t, cfg)
		c := refused(t, at)
		for s.Conns() > 0 {
			time.Sleep(time.Millisecond)
		}
		c.isCut()
	})
	t.Run("many", func(t *testing.T) {
		cfg := cfg
		cfg.Linger, cfg.LingerIdle, cfg.MaxConns = time.Hour, time.Hour, lingerShare
		s, at := start(t, cfg)
		one := refused(t, at)
		refused(t, at).isCut()
		if n := s.Conns(); n != 1 {
			t.Errorf("%d connections are left", n)
		}
		one.send("x")
		one.Close()
		for s.Conns() > 0 { // and there is room for another one
			time.Sleep(time.Millisecond)
		}
		refused(t, at).send(strings.Repeat("x", upload))
	})
	t.Run("local", func(t *testing.T) { // where the kernel can't discard by itself
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), ln) }()
		c, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "POST http://api.example.com/no "+uploadHead)
		if _, err := c.Write(make([]byte, upload)); err != nil {
			t.Error(err)
		}
		if head, _ := readHead(bufio.NewReader(c)); !strings.HasPrefix(head, denied) {
			t.Error(head)
		}
		c.Close()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	})
}

// TestLingerDrain: a client that is waited for holds up no Drain.
func TestLingerDrain(t *testing.T) {
	s, at := start(t, Config{Enforcer: &enforcer{decide: refuseNo}, Dialer: neverDial(t), Linger: time.Hour, LingerIdle: time.Hour})
	c := refused(t, at)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Error(err)
	}
	c.isCut()
}

// TestRealUploads: curl and Python read their refusal, however much they had to send.
func TestRealUploads(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 50<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := listen(t, func(_ *net.TCPConn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	const python = "import requests, sys\nfor _ in range(20): print(requests.put(sys.argv[1], data=open(sys.argv[2], 'rb')).status_code)"
	for status, most := range map[string]int64{"403": 0, "413": 1 << 20} {
		_, at := start(t, Config{Enforcer: &enforcer{decide: refuseNo}, Dialer: dialTo(addr), MaxBody: most})
		const url = "http://api.example.com/no"
		for i := range 20 {
			if got := run(t, at, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", big, "-H", "Expect:", url); got != status {
				t.Errorf("curl, %d: %s", i, got)
			}
		}
		if got := run(t, at, "/usr/bin/python3", "-c", python, url, big); got != strings.Repeat(status+"\n", 20) {
			t.Errorf("python: %s", got)
		}
	}
}
