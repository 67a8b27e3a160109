package corpus

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLeftOver: an origin that answers twice, since it took what it was sent for more
// than one request, is not asked again on that connection: the next call would be
// answered by what is left over.
func TestLeftOver(t *testing.T) {
	b := start(t)
	const sneaked = "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	bodies := map[string]struct {
		fields, body string
		hasty        bool
	}{
		"Expect without 100":          {"Expect: 100-continue\r\nContent-Length: 2\r\n", "{}", true},
		"Expect without 100, chunked": {"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n", true},
		"CL.0":                        {fmt.Sprintf("Content-Length: %d\r\n", len(sneaked)), sneaked, false},
		"CL.0 behind empty lines":     {fmt.Sprintf("Content-Length: %d\r\n", len(sneaked)+4), "\r\n\r\n" + sneaked, false},
		"TE.0":                        {"Transfer-Encoding: chunked\r\n", fmt.Sprintf("1\r\nG\r\n%x\r\n%s\r\n0\r\n\r\n", len(sneaked)-1, sneaked[1:]), false},
	}
	i := 0
	for name, c := range bodies {
		for _, way := range []string{forward, inside} {
			i++
			path := fmt.Sprintf("/left-over/%d", i)
			b.origin.mu.Lock()
			b.origin.replies[path] = reply{text: ok, hasty: c.hasty, behind: strings.Replace(ok, "2\r\n\r\nok", "4\r\n\r\nevil", 1)}
			b.origin.mu.Unlock()
			t.Run(name+"/"+way, func(t *testing.T) {
				b.origin.take()
				var nc client
				to := ""
				if way == forward {
					nc, to = b.dial().(client), "http://a.test"
				} else {
					nc = b.intercepted(t, "a.test")
				}
				defer nc.Close()
				io.WriteString(nc, "POST "+to+path+" HTTP/1.1\r\nHost: a.test\r\n"+c.fields+"\r\n")
				b.untilArrived(t, path) // the body does not come along
				io.WriteString(nc, c.body)
				in := bufio.NewReader(nc)
				for _, r := range []string{"ok", "ok"} {
					res, err := http.ReadResponse(in, nil)
					must(t, err)
					if body, err := io.ReadAll(res.Body); err != nil || string(body) != r {
						t.Errorf("%s %q, %v", res.Status, body, err)
					}
					io.WriteString(nc, "GET "+to+"/next HTTP/1.1\r\nHost: a.test\r\n\r\n")
				}
			})
		}
	}
	t.Logf("%d by 2 ways", len(bodies))
}

// untilArrived waits for some bytes at the origin.
func (b *bench) untilArrived(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if strings.Contains(strings.Join(b.origin.take(), ""), text) {
			return
		}
	}
	t.Fatalf("%q did not arrive", text)
}
