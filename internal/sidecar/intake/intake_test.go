//go:build unix

package intake_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firma/internal/attach"
	"firma/internal/sidecar/intake"
	"firma/internal/sidecar/sock"
)

const secret = "a secret that both of them know!"

const waiting = 8 // connections

// place is an intake that keeps what it is given.
type place struct {
	*intake.Intake
	endpoint attach.Endpoint
	direct   chan net.Conn
	guests   chan *attach.Guest
	leave    chan struct{} // lets one guest go
	over     chan error
	stop     context.CancelFunc
}

func open(t *testing.T, network string) *place {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s.sock")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &place{direct: make(chan net.Conn, 10), guests: make(chan *attach.Guest, 10), leave: make(chan struct{}), over: make(chan error, 1)}
	p.endpoint = attach.Endpoint{Network: network, Address: ln.Addr().String()}
	p.Intake = intake.New(intake.Config{
		Direct: func(c net.Conn) { p.direct <- c }, Secret: secret, Log: slog.New(slog.DiscardHandler), Waiting: waiting,
		Guest: func(ctx context.Context, g *attach.Guest) {
			p.guests <- g
			select {
			case <-p.leave:
			case <-ctx.Done():
			}
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.over <- p.Serve(ctx, sock.Listen(ln)) }()
	t.Cleanup(stop)
	return p
}

func (p *place) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial(p.endpoint.Network, p.endpoint.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// hear reads all that came, to the end of the connection.
func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(b)
}

// A client of the port keeps every byte it sent, however it is cut, and its
// connection stays a plain socket.
func TestDirect(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, parts := range [][]string{
			{"GET http://a.test/ HTTP/1.1\r\n\r\n"}, {"F", "OO http://a.test/ HTTP/1.1\r\n\r\n"}, {"FIRMA", "/2 A is something else"}, {"x"},
		} {
			p := open(t, network)
			c := p.dial(t)
			for i, part := range parts {
				say(t, c, part)
				if i == 0 && len(parts) > 1 && strings.HasPrefix(attach.Magic, part) {
					select {
					case <-p.direct:
						t.Fatalf("%q was told apart too early", part)
					default:
					}
				}
			}
			got := <-p.direct
			if _, ok := got.(syscall.Conn); !ok {
				t.Errorf("the connection is a %T", got)
			}
			c.Close()
			if text := hear(t, got); text != strings.Join(parts, "") {
				t.Errorf("%s: %q arrived as %q", network, parts, text)
			}
		}
	}
}

func TestRun(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		p := open(t, network)
		r, err := attach.Dial(context.Background(), p.endpoint, secret)
		if err != nil {
			t.Fatal(err)
		}
		g := <-p.guests
		if _, err := r.Open(context.Background(), attach.Relay); err == nil {
			t.Error("a connection of a run that is not registered was taken")
		}
		taken := make(chan attach.Kind, 2)
		remove := p.Register(g, func(k attach.Kind, c net.Conn) {
			taken <- k
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		})
		conn, err := r.Open(context.Background(), attach.Relay)
		if err != nil {
			t.Fatal(err)
		}
		if k := <-taken; k != attach.Relay {
			t.Errorf("kind %c", k)
		}
		say(t, conn, "hello")
		if h, ok := conn.(interface{ CloseWrite() error }); !ok || h.CloseWrite() != nil {
			t.Fatal("the connection can't be half-closed")
		}
		if got := hear(t, conn); got != "hello" {
			t.Errorf("%q", got)
		}
		remove()
		if _, err := r.Open(context.Background(), attach.DNS); err == nil {
			t.Error("a connection of a run that left was taken")
		}
		close(p.leave)
		if _, err := r.Recv(); err == nil {
			t.Error("the line outlived the guest")
		}
		if len(p.direct) != 0 {
			t.Error("a connection of firma's was taken for a client's")
		}
	}
}

// What begins like firma's and is not is cut, and is nobody's.
func TestRefused(t *testing.T) {
	p := open(t, "tcp")
	for name, text := range map[string]string{
		"a part of a word":  attach.Magic[:2],
		"no header":         attach.Magic + "A\n",
		"nonsense":          attach.Magic + strings.Repeat("x", 200),
		"an unknown kind":   attach.Magic + "Z " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 64) + "\n",
		"an unknown run":    attach.Magic + "R " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 64) + "\nGET / HTTP/1.1\r\n\r\n",
		"no proof":          attach.Magic + "A " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 64) + "\n",
		"upper-case digits": attach.Magic + "A " + strings.Repeat("A", 32) + " " + strings.Repeat("0", 32) + " " + strings.Repeat("0", 64) + "\n",
	} {
		c := p.dial(t)
		say(t, c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		if got := hear(t, c); got != "" && !strings.HasPrefix(got, attach.Magic+"X ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(p.guests)+len(p.direct) != 0 {
		t.Error("something was let in")
	}
	if _, err := attach.Dial(context.Background(), p.endpoint, "another secret"); err == nil {
		t.Error("a wrong secret was taken")
	}
}

// The end of the context ends everybody: those who said nothing yet, and guests.
func TestEnd(t *testing.T) {
	p := open(t, "tcp")
	silent, half := p.dial(t), p.dial(t)
	say(t, half, "FIRMA/")
	r, err := attach.Dial(context.Background(), p.endpoint, secret)
	if err != nil {
		t.Fatal(err)
	}
	<-p.guests
	p.stop()
	if err := <-p.over; err != nil {
		t.Error(err)
	}
	hear(t, silent)
	hear(t, half)
	if _, err := r.Recv(); err == nil {
		t.Error("the line is still there")
	}
}

func TestQueue(t *testing.T) {
	q := intake.NewQueue()
	a, b := net.Pipe()
	go q.Put(a)
	if got, err := q.Accept(); err != nil || got != a {
		t.Fatal(err)
	}
	_ = q.Close()
	_ = q.Close()
	if _, err := q.Accept(); err == nil {
		t.Error("a closed queue gave a connection")
	}
	q.Put(a) // closes it
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("a closed queue kept a connection")
	}
}
