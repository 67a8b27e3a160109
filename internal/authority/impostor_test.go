package authority_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"firma/internal/fault"
	"firma/internal/wire"
)

// impostor listens where an Authority did, answers the proof as told and keeps
// everything it is sent.
type impostor struct {
	mu   sync.Mutex
	sent bytes.Buffer
}

func (i *impostor) Write(p []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sent.Write(p)
}

func (i *impostor) text() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sent.String()
}

// listen serves on addr and returns where.
func (i *impostor) listen(t *testing.T, addr string, proof http.HandlerFunc) string {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	mux := http.NewServeMux()
	mux.HandleFunc(wire.ProofPath, proof)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(i, r.Body) })
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux, Protocols: protocols}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String()
}

// Another account takes the port of an Authority that ended: it learns nothing
// and is not believed.
func TestSomebodyElseTakesThePort(t *testing.T) {
	r := run(t, inMemory())
	r.stop()
	octets := func(w http.ResponseWriter, body []byte) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(body)
	}
	tests := map[string]struct {
		proof http.HandlerFunc
		want  string
	}{
		"no proof":         {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "AuthorityTransportAmbiguous"},
		"empty proof":      {func(w http.ResponseWriter, r *http.Request) { octets(w, nil) }, "AuthorityNotAuthentic"},
		"wrong signature":  {func(w http.ResponseWriter, r *http.Request) { octets(w, make([]byte, 64)) }, "AuthorityNotAuthentic"},
		"endless proof":    {func(w http.ResponseWriter, r *http.Request) { octets(w, make([]byte, 1<<20)) }, "AuthorityNotAuthentic"},
		"a page instead":   {func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("hello")) }, "AuthorityTransportAmbiguous"},
		"a redirect":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/firma/proof2", http.StatusFound) }, "AuthorityTransportAmbiguous"},
		"server exception": {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "AuthorityTransportAmbiguous"},
	}
	for name, tt := range tests {
		i := new(impostor)
		i2 := *r
		i2.Addr = i.listen(t, "127.0.0.1:0", tt.proof)
		err := startErr(t, towards(&i2))
		if fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		if strings.Contains(i.text(), string(key)) || i.text() != "" {
			t.Errorf("%s: the impostor was told %q", name, i.text())
		}
	}
}

// It passes the question on to the true Authority, which listens elsewhere.
func TestProofIsNotGoodForAnotherAddress(t *testing.T) {
	r := run(t, inMemory())
	i := new(impostor)
	relayed := *r
	relayed.Addr = i.listen(t, "127.0.0.1:0", func(w http.ResponseWriter, req *http.Request) {
		res, err := h1(t).Get(r.URL() + req.URL.RequestURI())
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		_, _ = io.Copy(w, res.Body)
	})
	if err := startErr(t, towards(&relayed)); fault.NameOf(err) != "AuthorityNotAuthentic" {
		t.Errorf("got %v", err)
	}
	if i.text() != "" {
		t.Errorf("the relay was told %q", i.text())
	}
}

// Something that is not HTTP/2 at all.
func TestAnotherProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("220 mail ready\r\n"))
			_ = c.Close()
		}
	}()
	r := &running{}
	r.Addr, r.PublicKey = l.Addr().String(), otherKey(t)
	if err := startErr(t, towards(r)); fault.NameOf(err) != "AuthorityTransportAmbiguous" {
		t.Errorf("got %v", err)
	}
}
