package h2

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestSentOnce: a POST whose connection breaks before it is answered is not sent
// again, whatever it says of itself: it would be recorded once.
func TestSentOnce(t *testing.T) {
	var arrived atomic.Int32
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			arrived.Add(1)
			if r.Header.Get("Idempotency-Key") != "k" || r.Header.Get("X-Idempotency-Key") != "k" {
				t.Errorf("the keys did not arrive: %v", r.Header)
			}
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
			return
		}
		fmt.Fprint(w, "ok")
	}), "http/1.1")
	_, addr := start(t, Config{DialTLS: dialTo(up)})
	c := client(t, addr)
	if resp, _ := get(t, c, "/x"); resp.StatusCode != 200 { // the connection is kept
		t.Fatal(resp.Status)
	}
	req, _ := http.NewRequest("POST", "https://"+host+"/", nil)
	req.Header.Set("Idempotency-Key", "k")
	req.Header.Set("X-Idempotency-Key", "k")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 504 || arrived.Load() != 1 {
		t.Errorf("%s; it arrived %d times", resp.Status, arrived.Load())
	}
}

// TestSentAgain: a GET on a kept connection that turns out to be over, by an end or by a
// reset, goes out on a new one.
func TestSentAgain(t *testing.T) {
	for name, linger := range map[string]int{"end": -1, "reset": 0} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) != 2 {
					fmt.Fprint(w, "ok")
					return
				}
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				raw := c.(*tls.Conn).NetConn().(*net.TCPConn)
				raw.SetLinger(linger)
				raw.Close()
			}), "http/1.1")
			_, addr := start(t, Config{DialTLS: dialTo(up)})
			c := client(t, addr)
			for range 2 {
				if resp, body := get(t, c, "/x"); resp.StatusCode != 200 || body != "ok" {
					t.Errorf("%s %s", resp.Status, body)
				}
			}
			if n := asked.Load(); n != 3 {
				t.Errorf("the origin was asked %d times", n)
			}
		})
	}
}

// TestBadHeadIsNamed: what is wrong with a response is told and recorded.
func TestBadHeadIsNamed(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 200 OK\nA: b\n\n":                         "a line ends in a bare LF",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n":             "a header field has no valid name",
		"HTTP/2 200\r\n\r\n":                                "the status line is not version and status",
		strings.Repeat("HTTP/1.1 103 X\r\n\r\n", 100) + "x": "too many interim responses",
	} {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(c, said)
			c.Close()
		}), "http/1.1")
		e := newEnforcer()
		_, addr := start(t, Config{DialTLS: dialTo(up), Enforcer: e})
		resp, body := get(t, client(t, addr), "/x")
		if resp.StatusCode != 504 || !strings.Contains(body, want) {
			t.Errorf("%.40q: %s %s, want %s", said, resp.Status, body, want)
		}
		if d := receive(t, e.ended); !strings.Contains(d.Detail, want) {
			t.Errorf("%.40q: on record is %q, want %q", said, d.Detail, want)
		}
	}
}
