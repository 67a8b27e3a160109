package h2

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"firma/internal/intent"
	"firma/internal/verdict"
)

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// TestPush: the commands of a git push are judged before anything is sent, and
// what is sent is what came.
func TestPush(t *testing.T) {
	one, zero := strings.Repeat("1", 40), strings.Repeat("0", 40)
	command := pkt(one+" "+zero+" refs/heads/x\x00 report-status") + "0000"
	for _, tt := range []struct {
		name, body, encoding string
		status               int
		log                  string
	}{
		{"small", command, "", 200, "ALLOW POST api.example.com/o/r.git/git-receive-pack"},
		{"with a pack", command + string(pattern(3<<20)), "", 200, "ALLOW POST api.example.com/o/r.git/git-receive-pack"},
		{"probe", "0000", "", 403, "DENY POST api.example.com/o/r.git/git-receive-pack"},
		{"garbage", "hello, world", "", 403, "malformed https: the commands of a git push are malformed: a packet's length is no number"},
		{"cut short", "00", "", 403, "malformed https: the commands of a git push are not complete"},
		{"compressed", command, "gzip", 403, "malformed https: the commands of a git push are encoded; push without compressing the request"},
	} {
		for _, length := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, length), func(t *testing.T) {
				got := make(chan string, 1)
				up := origin(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					got <- string(b)
				}), "h2")
				e := newEnforcer()
				e.decide = func(c *intent.Call) verdict.Decision {
					if c.Push == nil || len(c.Push.Updates) != 1 || !c.Push.Updates[0].Delete {
						return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied}
					}
					return verdict.Decision{Outcome: verdict.Allow}
				}
				_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
				var body io.Reader = strings.NewReader(tt.body)
				if !length {
					body = io.MultiReader(body) // its length is not known
				}
				req, err := http.NewRequest("POST", "https://"+host+"/o/r.git/git-receive-pack", body)
				if err != nil {
					t.Fatal(err)
				}
				if tt.encoding != "" {
					req.Header.Set("Content-Encoding", tt.encoding)
				}
				resp, err := client(t, addr).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if log := e.take(); resp.StatusCode != tt.status || len(log) != 1 || log[0] != tt.log {
					t.Errorf("%d, %q", resp.StatusCode, log)
				}
				if tt.status == 200 && receive(t, got) != tt.body {
					t.Error("the body that arrived is another one")
				}
			})
		}
	}
}
