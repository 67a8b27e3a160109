package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// fakeHTTP2 notes what it is given and answers every connection with "h2".
type fakeHTTP2 struct {
	mu  sync.Mutex
	log []string
}

func (h *fakeHTTP2) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *fakeHTTP2) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.log
	h.log = nil
	return out
}

func (h *fakeHTTP2) ServeConn(_ context.Context, nc net.Conn, host string, port uint16) {
	h.note("serve %s:%d", host, port)
	io.WriteString(nc, "h2")
	nc.Close()
}

func (h *fakeHTTP2) Adopt(host string, port uint16, c *tls.Conn) {
	h.note("adopt %s:%d %s", host, port, c.ConnectionState().NegotiatedProtocol)
	c.Close()
}

func (h *fakeHTTP2) Recheck(func(*intent.Call, verdict.Decision) verdict.Reason) int { return 0 }
func (h *fakeHTTP2) Drain(context.Context) error                                     { h.note("drain"); return nil }

// TestProtocols: the agent is offered what its upstream speaks.
func TestProtocols(t *testing.T) {
	both, one, two := []string{"h2", "http/1.1"}, []string{"http/1.1"}, []string{"h2"}
	for _, tt := range []struct {
		name           string
		origin, client []string
		distant        bool // nothing may be contacted
		noHTTP2        bool
		want           string
		log            []string
		conns          int // before any request
	}{
		{"both speak h2", both, both, false, false, "h2", []string{"adopt api.example.com:443 h2", "serve api.example.com:443"}, 1},
		{"the origin does not", one, both, false, false, "http/1.1", nil, 1},
		{"the origin knows no ALPN", nil, both, false, false, "http/1.1", nil, 1},
		{"the client does not", both, one, false, false, "http/1.1", nil, 0},
		{"the client knows no ALPN", both, nil, false, false, "", nil, 0},
		{"firma does not", both, both, false, true, "http/1.1", nil, 0},
		{"in doubt", both, both, true, false, "http/1.1", nil, 0},
		{"in doubt, h2 only", both, two, true, false, "h2", []string{"serve api.example.com:443"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &fakeHTTP2{}
			o := interceptOptions{protos: tt.origin, cfg: Config{HTTP2: h}}
			if tt.noHTTP2 {
				o.cfg.HTTP2 = nil
			}
			w := newIntercepting(t, o, answers(ok, nil))
			w.e.distant = tt.distant
			for round := range 2 {
				c := w.dial(t, func(cfg *tls.Config) { cfg.NextProtos = tt.client })
				if p := c.ConnectionState().NegotiatedProtocol; p != tt.want {
					t.Errorf("round %d: %q", round, p)
				}
				if n := w.conns(); n != tt.conns {
					t.Errorf("round %d: %d connections", round, n)
				}
				if tt.want == "h2" {
					c.expect("h2")
				}
				c.Close()
				want := tt.log
				if round == 1 && len(want) > 0 { // known by now
					want = want[len(want)-1:]
				}
				if got := h.take(); !slices.Equal(got, want) {
					t.Errorf("round %d: %q", round, got)
				}
			}
		})
	}
}

// TestPreflightFailure: what the connection ahead met is told to the first call,
// without another try.
func TestPreflightFailure(t *testing.T) {
	w := newIntercepting(t, interceptOptions{untrusted: true, cfg: Config{HTTP2: &fakeHTTP2{}}}, answers(ok, nil))
	c := w.dial(t, func(cfg *tls.Config) { cfg.NextProtos = []string{"h2", "http/1.1"} })
	c.send(inGet + "\r\n")
	if status, _ := c.response(); status != "HTTP/1.1 504 Gateway Timeout" {
		t.Error(status)
	}
	if n := w.conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
	c.send(inGet + "\r\n")
	if status, _ := c.response(); status != "HTTP/1.1 504 Gateway Timeout" || w.conns() != 2 {
		t.Errorf("%s, %d connections", status, w.conns())
	}
}
