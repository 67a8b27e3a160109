package corpus

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answered is an origin's answer and what the agent must make of it.
type answered struct {
	name   string
	raw    string
	close  bool   // the origin closes behind it
	method string // GET if ""
	behind string // what the origin sends too late
	// status and body are what the agent gets; 0 if it must notice that there is no
	// whole response: a 504, or a connection that ends early.
	status int
	body   string
}

func responseClasses() map[string][]answered {
	all := map[string][]answered{}
	good := func(class, name, raw string, status int, body string) {
		all[class] = append(all[class], answered{name: name, raw: raw, status: status, body: body})
	}
	closing := func(class, name, raw string, status int, body string) {
		all[class] = append(all[class], answered{name: name, raw: raw, close: true, status: status, body: body})
	}
	bad := func(class, name, raw string) {
		all[class] = append(all[class], answered{name: name, raw: raw, close: true})
	}
	head := func(fields ...string) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Join(append(fields, "", ""), "\r\n")
	}
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	good("status line", "plain", head("Content-Length: 2")+"hi", 200, "hi")
	good("status line", "no reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", 200, "hi")
	good("status line", "no reason and no space", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", 200, "hi")
	good("status line", "unknown status", "HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nhi", 599, "hi")
	closing("status line", "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhi", 200, "hi")
	for _, line := range []string{"HTTP/1.2 200 OK", "HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.10 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1\t200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 0x1 OK", "HTTP/1.1 099 OK", "HTTP/1.1 000 OK", "HTTP/1.1 -20 OK", "HTTP/1.1 abc OK", "HTTP/1.1 200\x00OK", "HTTP/1.1 200 O\x00K", "HTTP/1.1 200 O\rK", "http/1.1 200 OK", "ICY 200 OK", "200 OK", "<html>", "\x00\x01", " HTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK", "HTTP/1.1", "HTTP/1.1 ", "X HTTP/1.1 200 OK"} {
		bad("status line", fmt.Sprintf("%q", line), line+"\r\nContent-Length: 2\r\n\r\nhi")
	}
	for _, f := range []string{"X", "X y", ": y", "X : y", " X: y", "X: y\r\n z", "X: \x00", "X: y\rz", "X: y\nZ: a", "X\x00: y", "X(: y", "X: \x0b", "é: y", "Content-Length : 2", "Set-Cookie: a=b\rSet-Cookie: c=d", strings.Repeat("X: y\r\n", 400) + "X: y", "X: " + strings.Repeat("y", 200000)} {
		bad("fields", fmt.Sprintf("%.30q", f), head(f, "Content-Length: 2")+"hi")
	}
	bad("fields", "bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi")
	bad("fields", "ends within", "HTTP/1.1 200 OK\r\nContent-Le")
	bad("fields", "nothing", "")
	for _, f := range [][]string{{"Content-Length: 2", "Content-Length: 3"}, {"Content-Length: 2", "Content-Length: 2"}, {"Content-Length: 2, 2"}, {"Content-Length: +2"}, {"Content-Length: -2"}, {"Content-Length: 0x2"}, {"Content-Length: 2x"}, {"Content-Length:"}, {"Content-Length: 99999999999999999999"}, {"Content_Length: 2"}, {"Content-Length: 2", "Content_Length: 3"},
		{"Content-Length: 2", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: chunked", "Content-Length: 2"}, {"Transfer-Encoding: gzip, chunked"}, {"Transfer-Encoding: chunked, chunked"}, {"Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, {"Transfer-Encoding: identity"}, {"Transfer-Encoding: x"}, {"Transfer-Encoding:"}, {"Transfer-Encoding: \x0bchunked"}, {"Transfer_Encoding: chunked"}, {"Transfer-Encoding : chunked"}, {"Transfer-Encoding:\r\n chunked"}, {"Transfer-Encoding: chunked", "Connection: transfer-encoding"}, {"Content-Length: 2", "Connection: content-length"}} {
		bad("framing", fmt.Sprintf("%q", f), head(f...)+"2\r\nhi\r\n0\r\n\r\n")
	}
	bad("framing", "chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
	bad("framing", "short", head("Content-Length: 20")+"hi")
	good("framing", "longer than its length", head("Content-Length: 2")+"hi"+evil, 200, "hi")
	closing("framing", "until close", head()+"hi", 200, "hi")
	closing("framing", "until close, looks like another", head()+evil, 200, evil)
	good("framing", "chunked", head("Transfer-Encoding: chunked")+"2;a=b\r\nhi\r\n0\r\n\r\n", 200, "hi")
	good("framing", "chunked, trailers", head("Transfer-Encoding: chunked", "Trailer: X")+"2\r\nhi\r\n0\r\nX: y\r\nContent-Length: 9\r\nSet-Cookie: CANARY\r\nX-Firma-Event: CANARY\r\n\r\n", 200, "hi")
	good("framing", "chunked, then more", head("Transfer-Encoding: chunked")+"2\r\nhi\r\n0\r\n\r\n"+evil, 200, "hi")
	for name, body := range map[string]string{"no size": "\r\nhi\r\n0\r\n\r\n", "0x": "0x2\r\nhi\r\n0\r\n\r\n", "plus": "+2\r\nhi\r\n0\r\n\r\n", "minus": "-2\r\nhi\r\n0\r\n\r\n", "space": " 2\r\nhi\r\n0\r\n\r\n", "space behind": "2 \r\nhi\r\n0\r\n\r\n", "LF": "2\nhi\n0\n\n", "overflow": "10000000000000002\r\nhi\r\n0\r\n\r\n", "big": "fffffffffffffff2\r\nhi\r\n0\r\n\r\n", "longer": "2\r\nhi!\r\n0\r\n\r\n", "ends within": "20\r\nhi", "no last": "2\r\nhi\r\n", "no end": "2\r\nhi\r\n0\r\n", "bad trailer": "2\r\nhi\r\n0\r\nX y\r\n\r\n", "trailer LF": "2\r\nhi\r\n0\r\nX: y\n\r\n", "extension LF": "2;a\nhi\r\n0\r\n\r\n"} {
		bad("chunks", name, head("Transfer-Encoding: chunked")+body)
	}
	for _, s := range []int{204, 304} {
		line := fmt.Sprintf("HTTP/1.1 %d X\r\n", s)
		good("no body", fmt.Sprint(s), line+"\r\n", s, "")
		good("no body", fmt.Sprintf("%d with a length", s), line+"Content-Length: 56\r\n\r\n", s, "")
		good("no body", fmt.Sprintf("%d with a length and a body", s), line+fmt.Sprintf("Content-Length: %d\r\n\r\n", len(evil))+evil, s, "")
		good("no body", fmt.Sprintf("%d chunked with a body", s), line+"Transfer-Encoding: chunked\r\n\r\n"+evil, s, "")
		good("no body", fmt.Sprintf("%d and another", s), line+"\r\n"+evil, s, "")
	}
	all["no body"] = append(all["no body"],
		answered{name: "HEAD with a length", raw: head("Content-Length: 50"), method: "HEAD", status: 200},
		answered{name: "HEAD with a body", raw: head("Content-Length: 41") + evil, method: "HEAD", status: 200},
		answered{name: "HEAD chunked with a body", raw: head("Transfer-Encoding: chunked") + evil, method: "HEAD", status: 200})
	for _, late := range []answered{
		{name: "HEAD with a length", raw: head("Content-Length: 41"), method: "HEAD", status: 200},
		{name: "HEAD chunked", raw: head("Transfer-Encoding: chunked"), method: "HEAD", status: 200},
		{name: "304 with a length", raw: "HTTP/1.1 304 X\r\nContent-Length: 41\r\n\r\n", status: 304},
		{name: "204 chunked", raw: "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", status: 204},
	} {
		late.behind = evil
		all["too late"] = append(all["too late"], late)
	}
	good("interim", "100 unasked", "HTTP/1.1 100 Continue\r\n\r\n"+head("Content-Length: 2")+"hi", 200, "hi")
	good("interim", "103", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+head("Content-Length: 2")+"hi", 200, "hi")
	good("interim", "102 and 103", "HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\n\r\n"+head("Content-Length: 2")+"hi", 200, "hi")
	good("interim", "103 with a length", "HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n"+head("Content-Length: 2")+"hi", 200, "hi")
	bad("interim", "103 with a body", "HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nhello"+head("Content-Length: 2")+"hi")
	bad("interim", "flood", strings.Repeat("HTTP/1.1 103 X\r\n\r\n", 1000)+head("Content-Length: 2")+"hi")
	bad("interim", "flood of 100", strings.Repeat("HTTP/1.1 100 X\r\n\r\n", 1000)+head("Content-Length: 2")+"hi")
	bad("interim", "nothing else", "HTTP/1.1 103 X\r\n\r\n")
	bad("interim", "101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+evil)
	bad("interim", "101 to h2c", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"+evil)
	bad("interim", "101 without upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n"+evil)
	for _, f := range []string{"Connection: X-A\r\nX-A: CANARY", "Keep-Alive: CANARY", "Proxy-Authenticate: CANARY", "X-Firma-Event: CANARY", "X_Firma_Event: CANARY", "Upgrade: CANARY", "TE: CANARY", "Proxy-Connection: CANARY"} {
		good("hop by hop", f, head(f, "Content-Length: 2")+"hi", 200, "hi")
	}
	return all
}

// TestResponses: an origin that lies hurts nobody but its own answer: the agent
// gets a whole response or notices that it has none, and the next request gets its
// own answer.
func TestResponses(t *testing.T) {
	b := start(t)
	total := 0
	for class, all := range responseClasses() {
		for i, a := range all {
			path := fmt.Sprintf("/%s/%d", strings.ReplaceAll(class, " ", "-"), i)
			b.origin.mu.Lock()
			b.origin.replies[path] = reply{text: a.raw, close: a.close, behind: a.behind}
			b.origin.mu.Unlock()
			for _, way := range []string{forward, inside, "http2"} {
				t.Run(class+"/"+a.name+"/"+way, func(t *testing.T) { b.ask(t, way, path, a) })
			}
		}
		t.Logf("%s: %d", class, len(all))
		total += len(all)
	}
	t.Logf("in total: %d by 3 ways", total)
}

func (b *bench) ask(t *testing.T, way, path string, a answered) {
	t.Helper()
	if a.method == "" {
		a.method = "GET"
	}
	status, body, header := b.fetch(t, way, a.method, path)
	whole := status != 0 && status != 504
	if a.status == 0 && whole || a.status != 0 && (status != a.status || body != a.body) {
		t.Errorf("the agent got %d %.80q, want %d %q", status, body, a.status, a.body)
	}
	if strings.Contains(header, "CANARY") {
		t.Errorf("what must not pass did: %s", header)
	}
	if status, body, _ := b.fetch(t, way, "GET", "/next"); status != 200 || body != "ok" {
		t.Errorf("the next request got %d %q", status, body)
	}
}

// fetch makes one request: its final status, 0 if there is no whole response, body
// and fields.
func (b *bench) fetch(t *testing.T, way, method, path string) (int, string, string) {
	t.Helper()
	if way == "http2" {
		tr := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return b.intercepted(t, "a.test", "h2"), nil
		}}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequest(method, "https://a.test"+path, nil)
		must(t, err)
		res, err := tr.RoundTrip(req)
		return read(res, err)
	}
	var nc net.Conn
	to := ""
	if way == forward {
		nc, to = b.dial(), "http://a.test"
	} else {
		nc = b.intercepted(t, "a.test")
	}
	defer nc.Close()
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(nc, method+" "+to+path+" HTTP/1.1\r\nHost: a.test\r\n\r\n")
	must(t, err)
	in := bufio.NewReader(nc)
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err == nil && res.StatusCode < 200 && res.StatusCode != 101 {
			continue
		}
		return read(res, err)
	}
}

func read(res *http.Response, err error) (int, string, string) {
	if err != nil {
		return 0, "", ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, string(body), ""
	}
	return res.StatusCode, string(body), fmt.Sprint(res.Header, res.Trailer)
}
