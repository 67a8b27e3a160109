package h2

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"firma/internal/verdict"
)

// TestMaxBody: a body beyond the limit is refused with 413, whether its length is
// announced or not; the connection's other streams go on.
func TestMaxBody(t *testing.T) {
	const most = 200_000
	for _, upstream := range []string{"h2", "http/1.1"} {
		t.Run(upstream, func(t *testing.T) {
			up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, err)
			}), upstream)
			e := newAccounting()
			_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up), MaxBody: most})
			c := client(t, addr)
			for _, tt := range []struct {
				name      string
				length    int
				announced bool
				status    int
			}{{"at the limit", most, true, 200}, {"beyond", most + 1, true, 413}, {"at the limit, unannounced", most, false, 200}, {"beyond, unannounced", 40 * most, false, 413}} {
				var body io.Reader = strings.NewReader(strings.Repeat("x", tt.length))
				if !tt.announced {
					body = struct{ io.Reader }{body}
				}
				req, _ := http.NewRequest("POST", "https://"+host+"/", body)
				resp, err := c.Do(req)
				if err != nil {
					t.Fatalf("%s: %v", tt.name, err)
				}
				said, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != tt.status || strings.Contains(string(said), "RequestBodyTooLarge") != (tt.status == 413) {
					t.Errorf("%s: %s %s", tt.name, resp.Status, said)
				}
				if tt.status == 413 && <-e.refused != verdict.RequestBodyTooLarge {
					t.Errorf("%s: another refusal is recorded", tt.name)
				}
			}
			if resp, _ := get(t, c, "/x"); resp.StatusCode != 200 {
				t.Error(resp.Status)
			}
		})
	}
}

// TestHostTimeout: a host's own time to begin its answer counts.
func TestHostTimeout(t *testing.T) {
	never := make(chan struct{})
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/never" {
			<-never
		}
		fmt.Fprint(w, "ok")
	}), "h2")
	t.Cleanup(func() { close(never) })
	_, addr := start(t, Config{DialTLS: dialTo(up), HostTimeout: func(string) time.Duration { return 80 * time.Millisecond }})
	c := client(t, addr)
	if resp, said := get(t, c, "/never"); resp.StatusCode != 504 || !strings.Contains(said, string(verdict.ConnectorTimeout)) {
		t.Errorf("%s: %s", resp.Status, said)
	}
	if resp, _ := get(t, c, "/x"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}
