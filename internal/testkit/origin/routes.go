package origin

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// maxEcho bounds the body that "/" gives back: 1 MiB.
const maxEcho = 1 << 20

// routes are the answers, the same under every name:
//
//	/bytes/N           N bytes, the letter x
//	/status/N          an empty answer with that status
//	/redirect?to=URL   302 to URL
//	/headers           the request's headers as JSON
//	/sse?n=3&ms=10     n server-sent events, ms apart, each flushed
//	/slow?ms=1000      headers at once, the body after ms
//	/late?ms=1000      nothing at all until then
//	/sink              reads the body, answers with its size
//	everything else    the request as JSON: method, host, path, headers, body
func routes(git http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/bytes/{n}", serveBytes)
	mux.HandleFunc("/status/{n}", serveStatus)
	mux.HandleFunc("/redirect", serveRedirect)
	mux.HandleFunc("/headers", serveHeaders)
	mux.HandleFunc("/sse", serveEvents)
	mux.HandleFunc("/slow", serveSlow)
	mux.HandleFunc("/late", serveLate)
	mux.HandleFunc("/sink", serveSink)
	mux.HandleFunc("/", serveEcho)
	if git == nil {
		return mux
	}
	mux.Handle("/git/", http.StripPrefix("/git", git))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			name = r.Host
		}
		if name == "git.test" {
			git.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "bytes: not a size", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = io.CopyN(w, letters{}, n)
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func serveStatus(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 200 || n > 599 {
		n = http.StatusBadRequest
	}
	w.WriteHeader(n)
}

func serveRedirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", r.URL.Query().Get("to"))
	w.WriteHeader(http.StatusFound)
}

func serveHeaders(w http.ResponseWriter, r *http.Request) { answer(w, r.Header) }

func serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	for i := range number(r, "n", 3) {
		fmt.Fprintf(w, "id: %d\ndata: event %d\n\n", i, i)
		if flush.Flush() != nil || !pause(r, number(r, "ms", 10)) {
			return
		}
	}
}

func serveLate(w http.ResponseWriter, r *http.Request) { pause(r, number(r, "ms", 1000)) }

func serveSlow(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	if pause(r, number(r, "ms", 1000)) {
		_, _ = io.WriteString(w, "slow\n")
	}
}

func serveSink(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, n)
}

func serveEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEcho))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, map[string]any{"method": r.Method, "host": r.Host, "path": r.RequestURI,
		"proto": r.Proto, "header": r.Header, "body": string(body)})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func number(r *http.Request, key string, otherwise int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(key))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

// pause waits and reports whether the client is still there.
func pause(r *http.Request, ms int) bool {
	t := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
