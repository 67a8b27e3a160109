package h2

import (
	"fmt"
	"io"
	"net/http"
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
