//go:build unix

package sidecar

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"firma/internal/fault"
)

// health answers GET /healthz, and nothing else: 200 ok while calls can be
// decided, 503 not ready otherwise.
type health struct {
	ln      net.Listener
	srv     *http.Server
	serving atomic.Bool
}

// serveHealth starts answering at once, with 503. ready is asked only while set
// to serving.
func serveHealth(addr string, ready func() bool) (*health, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.Wrap(err, "SidecarListenFailed", "the health endpoint can't listen on "+addr,
			"stop what uses it, or choose another with --health-bind-addr or FIRMA_SIDECAR_HEALTH_BIND_ADDR")
	}
	h := &health{ln: ln}
	h.srv = &http.Server{ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 8 << 10, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			status, text := http.StatusNotFound, "not found\n"
			if r.URL.Path == "/healthz" && r.Method == http.MethodGet {
				status, text = http.StatusServiceUnavailable, "not ready\n"
				if h.serving.Load() && ready() {
					status, text = http.StatusOK, "ok\n"
				}
			}
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		})}
	go func() { _ = h.srv.Serve(ln) }()
	return h, nil
}

func (h *health) set(serving bool) { h.serving.Store(serving) }

func (h *health) addr() string { return h.ln.Addr().String() }

func (h *health) close() { _ = h.srv.Close() }
