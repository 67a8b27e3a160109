package h2

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestDoubtfulConnections: as in package proxy, for an upstream that speaks HTTP/1.1.
func TestDoubtfulConnections(t *testing.T) {
	for _, tt := range []struct {
		name, method, body, length string
		kept                       bool
	}{
		{"GET", "GET", "", "", true},
		{"HEAD with a length", "HEAD", "", "4", false},
		{"JSON", "POST", `{"a":1}`, "", true},
		{"a request", "POST", "GET /y HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			conns := map[string]bool{}
			up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				conns[r.RemoteAddr] = true
				mu.Unlock()
				io.Copy(io.Discard, r.Body)
				if r.URL.Path == "/first" && tt.length != "" {
					w.Header().Set("Content-Length", tt.length)
				}
			}), "http/1.1")
			_, addr := start(t, Config{DialTLS: dialTo(up)})
			c := client(t, addr)
			req, _ := http.NewRequest(tt.method, "https://"+host+"/first", strings.NewReader(tt.body))
			if tt.body == "" {
				req.Body, req.GetBody, req.ContentLength = nil, nil, 0
			}
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if v := resp.Header.Get("Connection"); v != "" {
				t.Errorf("Connection: %s", v)
			}
			if resp, _ := get(t, c, "/second"); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			mu.Lock()
			defer mu.Unlock()
			if tt.kept != (len(conns) == 1) {
				t.Errorf("%d upstream connections", len(conns))
			}
		})
	}
}

// TestEarlyAnswer: the rest of a body that is answered before it was sent may be taken
// for a request.
func TestEarlyAnswer(t *testing.T) {
	answered := make(chan struct{})
	var mu sync.Mutex
	conns := map[string]bool{}
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr] = true
		mu.Unlock()
		if r.Method == "POST" {
			c := http.NewResponseController(w)
			if err := c.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Length", "2")
			io.WriteString(w, "o")
			if err := c.Flush(); err != nil {
				t.Error(err)
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, "k")
		}
	}), "http/1.1")
	_, addr := start(t, Config{DialTLS: dialTo(up)})
	c := client(t, addr)
	body, rest := io.Pipe()
	go func() {
		<-answered
		io.WriteString(rest, "{}")
		rest.Close()
	}()
	req, _ := http.NewRequest("POST", "https://"+host+"/first", body)
	req.ContentLength = 2
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	close(answered)
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "ok" {
		t.Errorf("%q, %v", b, err)
	}
	resp.Body.Close()
	if resp, _ := get(t, c, "/second"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(conns) != 2 {
		t.Errorf("%d upstream connections", len(conns))
	}
}

// TestExpectUnanswered: an upstream that did not ask for the body may take it for
// another request.
func TestExpectUnanswered(t *testing.T) {
	for said, closes := range map[string]bool{
		"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n":                              true,
		"HTTP/1.1 103 X\r\n\r\nHTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n":        true,
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": false,
		"HTTP/1.1 401 No\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n":      false,
	} {
		s := newStrict(scripted{Reader: strings.NewReader(said)})
		s.asked = asked{method: "POST", doubtful: func(told bool) bool { return !told }}
		got, err := io.ReadAll(s)
		if n := strings.Count(string(got), "Connection: close"); err != nil || n > 1 || closes != (n == 1) {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
}
