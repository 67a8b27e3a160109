package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

// What a server says to a ClientHello: that it wants another one, and what it says
// otherwise, as far as that matters here.
var (
	retryRequest = "\x16\x03\x03\x00\x2c\x02\x00\x00\x28\x03\x03" +
		"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c" +
		"\x00\x13\x01\x00\x00\x00"
	usualAnswer = strings.Replace(retryRequest, "\xcf", "\xce", 1)
)

const (
	changed   = "\x14\x03\x03\x00\x01\x01"
	earlyData = "\x17\x03\x03\x00\x05early"
	userAlert = "\x15\x03\x03\x00\x02\x01\x5a"
)

// inRecords puts the content of one record into several.
func inRecords(hello string, size int) (b string) {
	for msg := hello[5:]; msg != ""; {
		n := min(size, len(msg))
		b += "\x16\x03\x03" + string([]byte{byte(n >> 8), byte(n)}) + msg[:n]
		msg = msg[n:]
	}
	return b
}

// asking is a far side that reads a first hello, says something, piece by piece,
// and passes on what comes then, which it echoes.
func asking(t *testing.T, first int, says ...string) (addr string, got chan string) {
	got = make(chan string, 10_000)
	addr, _ = listen(t, func(c *net.TCPConn, r *bufio.Reader) {
		if _, err := io.CopyN(io.Discard, r, int64(first)); err != nil {
			return
		}
		for _, s := range says {
			io.WriteString(c, s)
		}
		b := make([]byte, 64<<10)
		for {
			n, err := r.Read(b)
			if n > 0 {
				got <- string(b[:n])
				c.Write(b[:n])
			}
			if err != nil {
				close(got)
				return
			}
		}
	})
	return addr, got
}

func all(got chan string) (s string) {
	for piece := range got {
		s += piece
	}
	return s
}

// seconds are what a client may send after a HelloRetryRequest.
func seconds(t *testing.T) (good string, cases map[string]second) {
	good = helloBytes(t, nil)
	evil := strings.Replace(good, "api.example.com", "evil.example.co", 1)
	silent := helloBytes(t, func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = "", true })
	const any, ech, none, raw = verdict.AcceptAnySNI, verdict.AcceptECH, verdict.AcceptMissingSNI, verdict.AcceptNonTLS
	return good, map[string]second{
		"the same":                        {good, 0, true},
		"the same behind a change":        {changed + good, 0, true},
		"the same in records":             {changed + inRecords(good, 200), 0, true},
		"the same behind early data":      {changed + earlyData + earlyData + good, 0, true},
		"the same behind an alert":        {userAlert + good, 0, true},
		"the same in capitals":            {strings.Replace(good, "api.example.com", "API.example.com", 1), 0, true},
		"another name":                    {evil, 0, false},
		"another name behind a change":    {changed + evil, 0, false},
		"another name in records":         {changed + inRecords(evil, 200), 0, false},
		"another name behind early data":  {changed + earlyData + earlyData + evil, 0, false},
		"another name behind an alert":    {userAlert + evil, 0, false},
		"another name, others accepted":   {evil, ech | none | raw, false},
		"another name, accepted":          {evil, any, true},
		"no name":                         {silent, 0, false},
		"no name, accepted":               {silent, none, true},
		"a hidden name":                   {withECH(good), 0, false},
		"a hidden name in records":        {inRecords(withECH(good), 200), 0, false},
		"a hidden name, accepted":         {withECH(good), ech, true},
		"text":                            {"GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 0, false},
		"text, accepted":                  {"GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", raw, true},
		"text behind a change":            {changed + "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 0, false},
		"another message":                 {"\x16\x03\x03\x00\x04\x10\x00\x00\x00", 0, false},
		"a hello and more in its record":  {"\x16\x03\x01" + string([]byte{byte((len(good) - 4) >> 8), byte(len(good) - 4)}) + good[5:] + "x", 0, false},
		"an empty record":                 {"\x16\x03\x03\x00\x00" + good, 0, false},
		"a change within the other hello": {inRecords(evil, 200)[:205] + changed + inRecords(evil, 200)[205:], 0, false},
	}
}

type second struct {
	says    string
	accepts verdict.Accepts
	passes  bool
}

// TestSecondHello: what is sent after a HelloRetryRequest is judged as the first
// hello was, at once or byte by byte, and whether the client waits to be asked or
// not.
func TestSecondHello(t *testing.T) {
	good, cases := seconds(t)
	how := map[string]func(c *rawClient, s string){
		"waits": func(c *rawClient, s string) {
			c.send(good)
			c.expect(retryRequest)
			io.WriteString(c, s)
		},
		"waits, then byte by byte": func(c *rawClient, s string) {
			c.send(good)
			c.expect(retryRequest)
			for i := range len(s) {
				if _, err := io.WriteString(c, s[i:i+1]); err != nil {
					break
				}
			}
		},
		"does not wait":      func(c *rawClient, s string) { io.WriteString(c, good+s) },
		"does not wait long": func(c *rawClient, s string) { c.send(good); io.WriteString(c, s) },
	}
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		for name, tt := range cases {
			for way, send := range how {
				t.Run(name+"/"+way, func(t *testing.T) {
					t.Parallel()
					addr, got := asking(t, len(good), retryRequest)
					e := &enforcer{strict: true, accepts: tt.accepts, ended: make(chan Dispatch, 1)}
					_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
					c := connectTo(t, proxy)
					c.send(connectReq)
					c.expect(established)
					send(c, tt.says)
					if tt.passes {
						if strings.HasPrefix(way, "does not") {
							c.expect(retryRequest)
						}
						c.expect(tt.says)
						c.send("and more")
						c.expect("and more")
						c.CloseWrite()
						c.expectEOF()
						if d := receive(t, e.ended); d.Abort != verdict.None || d.RequestBytes != int64(len(good)+len(tt.says)+8) {
							t.Errorf("%+v", d)
						}
						return
					}
					c.CloseWrite()
					io.Copy(io.Discard, c.r)
					e.untilLast(t, "refuse api.example.com after ALLOW: MalformedRequest")
					if diff := cmp.Diff([]string{"ALLOW CONNECT api.example.com", "refuse api.example.com after ALLOW: MalformedRequest"}, e.take()); diff != "" {
						t.Error(diff)
					}
					if s := all(got); strings.Contains(s, "evil.example") && strings.Contains(tt.says, "\x16") || strings.Contains(s, "\xfe\x0d") {
						t.Errorf("sent upstream: %q", s)
					}
					if len(e.ended) > 0 {
						t.Error("and a dispatch was recorded")
					}
				})
			}
		}
	})
}

// TestRetryAlert: a client whose second hello is refused learns why.
func TestRetryAlert(t *testing.T) {
	good := helloBytes(t, nil)
	addr, _ := asking(t, len(good), retryRequest)
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: &enforcer{strict: true}})
	c := connectTo(t, proxy)
	c.send(connectReq + good)
	c.expect(established + retryRequest)
	c.send(strings.Replace(good, "api.example.com", "api.example.net", 1)) // the upstream would echo what passes
	c.expect(alert)
	c.expectEOF()
}

// TestAskedInPieces: a request for a second hello is seen however it comes.
func TestAskedInPieces(t *testing.T) {
	good := helloBytes(t, nil)
	evil := strings.Replace(good, "api.example.com", "api.example.net", 1)
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		for name, asks := range map[string][]string{
			"bytes":             strings.Split(retryRequest, ""),
			"records":           {inRecords(retryRequest, 7)},
			"behind a warning":  {"\x15\x03\x03\x00\x02\x01\x70", retryRequest},
			"with more":         {retryRequest + changed},
			"records, in bytes": strings.Split(inRecords(retryRequest, 30), ""),
		} {
			t.Run(name, func(t *testing.T) {
				addr, got := asking(t, len(good), asks...)
				e := &enforcer{strict: true}
				_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
				c := connectTo(t, proxy)
				c.send(connectReq + good)
				c.expect(established + strings.Join(asks, ""))
				c.send(evil)
				c.expect(alert)
				c.CloseWrite()
				e.untilLast(t, "refuse api.example.com after ALLOW: MalformedRequest")
				if s := all(got); s != "" {
					t.Errorf("sent upstream: %q", s)
				}
			})
		}
	})
}

// TestNotAsked: after any other answer, and before any, a tunnel carries what it is
// given. So does one that did not begin with TLS.
func TestNotAsked(t *testing.T) {
	good := helloBytes(t, nil)
	evil := strings.Replace(good, "api.example.com", "evil.example.co", 1)
	bulk := strings.Repeat("x", 1<<20)
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		for name, tt := range map[string]struct{ first, answer, then string }{
			"a usual answer":              {good, usualAnswer, "\x16\x03\x03\x00\x04\x10\x00\x00\x00" + bulk},
			"a usual answer, for a hello": {good, usualAnswer, evil},
			"an alert":                    {good, "\x15\x03\x03\x00\x02\x02\x28", userAlert + bulk},
			"no TLS":                      {good, "HTTP/1.1 400 Bad Request\r\n\r\n", evil},
			"no answer, text":             {good, "", bulk},
			"no answer, early data":       {good, "", changed + strings.Repeat("\x17\x03\x03\x40\x00"+bulk[:0x4000], 64)},
			"no hello":                    {"SSH-2.0-x\r\n", retryRequest, evil},
		} {
			t.Run(name, func(t *testing.T) {
				target := "api.example.com:8443"
				addr, got := asking(t, len(tt.first), tt.answer)
				e := &enforcer{strict: true, ended: make(chan Dispatch, 1)}
				_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
				c := connectTo(t, proxy)
				c.send("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n" + tt.first)
				c.expect(established + tt.answer)
				go io.WriteString(c, tt.then)
				c.expect(tt.then)
				c.CloseWrite()
				c.expectEOF()
				if s := all(got); s != tt.then {
					t.Errorf("%d bytes arrived, want %d", len(s), len(tt.then))
				}
				if d := receive(t, e.ended); d.Abort != verdict.None || d.RequestBytes != int64(len(tt.first)+len(tt.then)) {
					t.Errorf("%+v", d)
				}
			})
		}
	})
}

// TestRetryEnds: a client that leaves instead of sending a second hello is no
// attacker; one that leaves within it, or takes too long, is refused.
func TestRetryEnds(t *testing.T) {
	good := helloBytes(t, nil)
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		for name, tt := range map[string]struct {
			says    string
			ends    bool
			refused bool
		}{
			"at once":             {"", true, false},
			"after an alert":      {"\x15\x03\x03\x00\x02\x02\x2f", true, false},
			"within early data":   {earlyData[:8], true, false},
			"within a header":     {changed[:3], true, true},
			"within the hello":    {good[:50], true, true},
			"too late":            {good[:50], false, true},
			"too late for a byte": {"\x14", false, true},
		} {
			t.Run(name, func(t *testing.T) {
				addr, got := asking(t, len(good), retryRequest)
				e := &enforcer{strict: true, ended: make(chan Dispatch, 1)}
				_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e, HeadTimeout: 50 * time.Millisecond})
				c := connectTo(t, proxy)
				c.send(connectReq + good)
				c.expect(established + retryRequest)
				c.send(tt.says)
				if tt.ends {
					c.CloseWrite()
				}
				if tt.refused {
					c.expect(alert)
					c.CloseWrite()
					e.untilLast(t, "refuse api.example.com after ALLOW: MalformedRequest")
					return
				}
				if s := all(got); s != tt.says {
					t.Errorf("%q arrived", s)
				}
				io.Copy(io.Discard, c.r)
				if d := receive(t, e.ended); d.Abort != verdict.None {
					t.Errorf("%+v", d)
				}
			})
		}
	})
}
