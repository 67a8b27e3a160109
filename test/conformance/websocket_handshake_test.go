package conformance

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// scripted is an upstream that answers each request with the next answer, and keeps
// what it got.
type scripted struct {
	dialer
	got chan string // of each connection, all of it
}

func newScripted(t *testing.T, w way, answers ...string) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil && w.tls {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &scripted{dialer{ln.Addr().String(), roots}, make(chan string, 10)}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c, answers)
		}
	}()
	return s
}

func (s *scripted) serve(c net.Conn, answers []string) {
	defer c.Close()
	var all strings.Builder
	r := bufio.NewReader(io.TeeReader(c, &all))
	for _, a := range answers {
		if _, err := http.ReadRequest(r); err != nil {
			break
		}
		key := ""
		if _, rest, ok := strings.Cut(all.String(), "Sec-WebSocket-Key: "); ok {
			key, _, _ = strings.Cut(rest, "\r\n")
		}
		io.WriteString(c, strings.ReplaceAll(a, "ACCEPT", "Sec-WebSocket-Accept: "+acceptFor(key)+"\r\n"))
		if strings.Contains(a, " 101 ") {
			break
		}
	}
	io.Copy(io.Discard, r)
	if all.Len() > 0 {
		s.got <- all.String()
	}
}

const (
	asks            = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + exampleKey + "\r\n"
	agrees          = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nACCEPT\r\n"
	plainOK         = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	upgradeRequired = "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
)

// handshakes are what a client asks by HTTP/1.1, what the server answers, and what
// must come of it. %s in behind is the request target.
var handshakes = []struct {
	name, method, version string
	ask, behind, answer   string
	status                string // that the client gets, in order
	asked                 bool   // the server is asked for a WebSocket
	has, lacks            string // what the server gets
	says                  string // what the client gets
}{
	{name: "in order", ask: asks, answer: agrees, status: "101", asked: true, has: "Sec-WebSocket-Key: " + exampleKey},
	{name: "names in other cases", ask: "connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\nsec-websocket-version: 13\r\nSec-WebSocket-Key: " + exampleKey + "\r\n", answer: agrees, status: "101", asked: true},
	{name: "frames right behind", ask: asks, behind: string(txt("hi").wire(true)), answer: agrees, status: "101", asked: true, has: "\r\n\r\n\x81\x82"},
	{name: "another protocol right behind", ask: asks, behind: "SSH-2.0-x\r\n", answer: agrees, status: "101", asked: true, lacks: "SSH", says: "\x03\xea"},
	{name: "a subprotocol", ask: asks + "Sec-WebSocket-Protocol: chat, superchat\r\n", answer: strings.Replace(agrees, "ACCEPT", "ACCEPTSec-WebSocket-Protocol: superchat\r\n", 1), status: "101", asked: true, has: "Sec-WebSocket-Protocol: chat, superchat", says: "Sec-WebSocket-Protocol: superchat"},
	{name: "unknown extensions", ask: asks + "Sec-WebSocket-Extensions: bbf-usp-protocol, permessage-deflate; client_max_window_bits, x; y=\"permessage-deflate\"\r\n", answer: agrees, status: "101", asked: true, has: "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"},
	{name: "unknown parameters of a known extension", ask: asks + "Sec-WebSocket-Extensions: permessage-deflate; level=9\r\n", answer: agrees, status: "101", asked: true, lacks: "Extensions"},
	{name: "an extension is agreed on", ask: asks + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n", answer: strings.Replace(agrees, "ACCEPT", "ACCEPTSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n", 1), status: "101", asked: true, says: "permessage-deflate; server_max_window_bits=9"},
	{name: "an extension is agreed on that was not offered", ask: asks, answer: strings.Replace(agrees, "ACCEPT", "ACCEPTSec-WebSocket-Extensions: permessage-deflate\r\n", 1), status: "504", asked: true},
	{name: "more is agreed on than was offered", ask: asks + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n", answer: strings.Replace(agrees, "ACCEPT", "ACCEPTSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11\r\n", 1), status: "504", asked: true},
	{name: "the wrong Accept", ask: asks, behind: string(txt("hi").wire(true)), answer: strings.Replace(agrees, "ACCEPT", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n", 1), status: "504 403", asked: true, lacks: "\x81"},
	{name: "no Accept", ask: asks, answer: strings.Replace(agrees, "ACCEPT", "", 1), status: "504", asked: true},
	{name: "no Connection in the answer", ask: asks, answer: strings.Replace(agrees, "Connection: Upgrade\r\n", "", 1), status: "504", asked: true},
	{name: "another protocol in the answer", ask: asks, answer: strings.Replace(agrees, "Upgrade: websocket", "Upgrade: h2c", 1), status: "504", asked: true},
	{name: "426", ask: strings.Replace(asks, "13", "8", 1), answer: upgradeRequired, status: "426", asked: true, says: "Sec-WebSocket-Version: 13"},
	{name: "another version is agreed on", ask: strings.Replace(asks, "13", "8", 1), answer: agrees, status: "504", asked: true},
	{name: "no key", ask: "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", answer: agrees, status: "504"},
	{name: "two keys", ask: asks + "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n", answer: agrees, status: "504"},
	{name: "an improper key", ask: strings.Replace(asks, exampleKey, "x", 1), answer: agrees, status: "504", asked: true},
	{name: "no switch, and a request right behind", ask: asks, behind: "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", answer: plainOK, status: "200 200", asked: true},
	{name: "no switch, and frames right behind", ask: asks, behind: string(txt("GET / HTTP/1.1\r\n\r\n").wire(true)), answer: plainOK, status: "200 403", asked: true, lacks: "\x81"},
	{name: "refused, and a request right behind", ask: asks, behind: "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", answer: strings.Replace(upgradeRequired, "426", "401", 1), status: "401 401", asked: true},
	{name: "h2c as well", ask: strings.Replace(asks, "Upgrade: websocket", "Upgrade: websocket, h2c", 1), answer: upgradeRequired, status: "426", lacks: "h2c"},
	{name: "h2c alone", ask: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", answer: plainOK, status: "200", lacks: "HTTP2-Settings"},
	{name: "h2c is agreed to", ask: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", status: "504"},
	{name: "Connection does not say so", ask: strings.Replace(asks, "Connection: Upgrade\r\n", "", 1), answer: agrees, status: "504"},
	{name: "another method", method: "POST", ask: asks, answer: agrees, status: "504"},
	{name: "HTTP/1.0", version: "1.0", ask: asks, answer: agrees, status: "504"},
	{name: "with a body", ask: asks + "Content-Length: 4\r\n", behind: "body", answer: plainOK, status: "200", has: "\r\n\r\nbody"},
	{name: "with a body of unknown length", ask: asks + "Transfer-Encoding: chunked\r\n", behind: "4\r\nbody\r\n0\r\n\r\n", answer: agrees, status: "504"},
	{name: "two Upgrade fields", ask: asks + "Upgrade: h2c\r\n", status: "403"},
	{name: "a space before the colon", ask: strings.Replace(asks, "Upgrade: websocket", "Upgrade : websocket", 1), status: "403"},
	{name: "a folded line", ask: strings.Replace(asks, "Upgrade: websocket", "Upgrade:\r\n websocket", 1), status: "403"},
	{name: "Connection names the key", ask: strings.Replace(asks, "Connection: Upgrade", "Connection: Upgrade, Sec-WebSocket-Key", 1), status: "403"},
	{name: "Expect, and no body", ask: asks + "Expect: 100-continue\r\n", answer: agrees, status: "101", asked: true, lacks: "Expect"},
}

// TestWebSocketHandshakes: what is asked, and answered, by HTTP/1.1.
func TestWebSocketHandshakes(t *testing.T) {
	t.Logf("%d cases", len(handshakes))
	for _, w := range ways[:2] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			for _, h := range handshakes {
				answers := []string{h.answer, h.answer}
				if h.answer == "" {
					answers = nil
				}
				up := newScripted(t, w, answers...)
				x := newWorld(t, w, up.dialer)
				go func() {
					for range x.ended { // what is recorded is judged by the units
					}
				}()
				c, err := x.stream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				target, method, version := "/", "GET", "1.1"
				if !w.tls {
					target = "http://localhost/"
				}
				if h.method != "" {
					method = h.method
				}
				if h.version != "" {
					version = h.version
				}
				io.WriteString(c, method+" "+target+" HTTP/"+version+"\r\nHost: localhost\r\n"+h.ask+"\r\n"+strings.ReplaceAll(h.behind, "%s", target))
				c.SetReadDeadline(time.Now().Add(patience))
				status, all := readStatuses(c, len(strings.Fields(h.status)))
				if status != h.status || !strings.Contains(all, h.says) {
					t.Errorf("%s, %s: the client got %s: %q", h.name, w.name, status, all)
				}
				c.Close()
				x.stop()
				got := ""
				if h.answer != "" {
					got = within(t, up.got)
				}
				if !strings.Contains(got, h.has) || h.lacks != "" && strings.Contains(got, h.lacks) || strings.Contains(got, "Upgrade: websocket\r\n") != h.asked {
					t.Errorf("%s, %s: the server got %q", h.name, w.name, got)
				}
			}
		})
	}
}

// readStatuses reads n responses and what follows a switch.
func readStatuses(c net.Conn, n int) (status, all string) {
	var b strings.Builder
	var list []string
	r := bufio.NewReader(io.TeeReader(c, &b))
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			list = append(list, err.Error())
			break
		}
		list = append(list, resp.Status[:3])
		if resp.StatusCode == 101 {
			c.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, r)
			break
		}
		io.Copy(io.Discard, resp.Body)
	}
	return strings.Join(list, " "), b.String()
}
