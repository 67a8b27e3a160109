package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"firma/internal/testkit/world"
)

func cmdOf(args ...string) world.Command { return world.Command{Args: args} }

// serve starts a plain HTTP server on loopback and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// events is an origin of three server-sent events, each held back until the one
// before was confirmed.
type events struct {
	addr      string
	confirmed chan struct{}
}

func newEvents(t *testing.T) *events {
	t.Helper()
	e := &events{confirmed: make(chan struct{})}
	e.addr = serve(t, e.handler())
	return e
}

func (e *events) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stream", e.stream)
	mux.HandleFunc("POST /confirm", func(w http.ResponseWriter, r *http.Request) {
		select {
		case e.confirmed <- struct{}{}:
		case <-r.Context().Done():
		}
	})
	return mux
}

func (e *events) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range 3 {
		fmt.Fprintf(w, "data: %d\n\n", i)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-e.confirmed:
		case <-r.Context().Done():
			return
		}
	}
}
