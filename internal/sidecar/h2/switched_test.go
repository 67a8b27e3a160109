package h2

import (
	"net/http"
	"strings"
	"testing"
)

// TestSwitchedUnasked: a 101 that nobody asked for is a broken answer, not one.
func TestSwitchedUnasked(t *testing.T) {
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\nhello"))
		c.Close()
	}), "http/1.1")
	_, addr := start(t, Config{DialTLS: dialTo(up)})
	if resp, said := get(t, client(t, addr), "/x"); resp.StatusCode != 504 || !strings.Contains(said, "unasked") {
		t.Errorf("%s: %s", resp.Status, said)
	}
}
