package corpus

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// entry is one message, or several on one connection. In send, "{T}" stands for
// what a proxy's client writes before a path and a server's does not.
type entry struct {
	name string
	send string
	// sent are the requests that arrive at the origin, as a reading has them: all
	// the rest is refused.
	sent    []string
	refused int    // denials, 403
	way     string // by which it is sent
	aborted int    // failures after an ALLOW, 504; nothing complete arrives
	reason  string // of the denials, "" for MalformedRequest
	only    string // the one way in that it makes sense for, "" for all
	shut    bool   // the client says that it sends no more
}

func sends(name, send string, sent ...string) entry { return entry{name: name, send: send, sent: sent} }
func refuses(name, send string) entry               { return entry{name: name, send: send, refused: 1} }
func aborts(name, send string) entry                { return entry{name: name, send: send, aborted: 1} }
func denies(name, reason, send string) entry {
	return entry{name: name, send: send, refused: 1, reason: reason}
}
func (e entry) by(way string) entry { e.only = way; return e }
func (e entry) ended() entry        { e.shut = true; return e }

// client is one connection that an entry is sent on.
type client interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// outcome is what is left to compare when all entries were sent.
type outcome struct {
	name    string
	entry   entry
	allowed []string
	streams []string // where in the list of all streams
	abort   bool
}

// run sends one entry on nc and compares what can be compared at once.
func (b *bench) run(t *testing.T, nc client, e entry) outcome {
	t.Helper()
	b.origin.take()
	b.events()
	go func() { // a refusal may come before the end of it
		io.WriteString(nc, e.send)
		if e.shut {
			nc.CloseWrite()
		}
	}()
	statuses := map[int]int{}
	in := bufio.NewReader(nc)
	want := len(e.sent) + e.refused + e.aborted
	var failed error
	asked := &http.Request{Method: strings.SplitN(e.send, " ", 2)[0]} // by HEAD, or like GET
	for n := 0; n < want; n++ {
		res, err := http.ReadResponse(in, asked)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
		}
		if err != nil {
			failed = err
			break
		}
		statuses[res.StatusCode]++
	}
	if !e.shut {
		_ = nc.CloseWrite()
	}
	rest, _ := io.ReadAll(in)
	nc.Close()
	events := b.events()
	silent := e.way == captured && e.refused == 1 && statuses[403] == 0 // reset
	if silent {
		failed, statuses[403] = nil, 1
	}
	if failed != nil || len(rest) > 0 || statuses[200] != len(e.sent) || statuses[403] != e.refused || statuses[504] != e.aborted {
		t.Errorf("answers %v (%v, and %.60q more), want %d of 200, %d of 403 and %d of 504", statuses, failed, rest, len(e.sent), e.refused, e.aborted)
	}
	reason := e.reason
	if reason == "" {
		reason = "MalformedRequest"
	}
	right := func(r string) bool { return r == reason || silent || e.way == captured && r == "PolicyDenied" }
	if got := denied(events); len(got) != e.refused || slices.ContainsFunc(got, func(r string) bool { return !right(r) }) {
		t.Errorf("refusals on record %q, want %d of %s", got, e.refused, reason)
	}
	for _, x := range events {
		if x.Outcome == "DENY" && x.DenyReason == "" {
			t.Errorf("a refusal without a text: %+v", x)
		}
	}
	o := outcome{name: t.Name(), entry: e, allowed: allowed(events), streams: b.origin.take(), abort: e.aborted > 0}
	if len(o.allowed) != len(e.sent)+e.aborted {
		t.Errorf("allowed on record %q, want %d", o.allowed, len(e.sent)+e.aborted)
	}
	if all := strings.Join(o.streams, ""); strings.Contains(all, "CANARY") {
		t.Errorf("what must not pass arrived: %q", all)
	}
	if e.aborted == 0 && len(e.sent) == 0 && len(o.streams) > 0 {
		t.Errorf("refused, and the origin received %q", o.streams)
	}
	return o
}

// compare lets every reader read what arrived for each outcome.
func compare(t *testing.T, outcomes []outcome) {
	var streams []string
	for _, o := range outcomes {
		streams = append(streams, o.streams...)
	}
	if len(streams) == 0 {
		t.Fatal("nothing arrived at all")
	}
	for _, r := range readers {
		readings := r.read(t, streams)
		for _, o := range outcomes {
			var seen []string
			for range o.streams {
				for _, s := range readings[0] {
					if s != "rest" || !o.abort {
						seen = append(seen, strings.TrimRight(s, " \r\n"))
					}
				}
				readings = readings[1:]
			}
			if o.abort && r.bodiless { // it answers a head whose body never ends
				continue
			}
			if !slices.Equal(seen, trimmed(o.entry.sent, r.bodiless)) {
				t.Errorf("%s: %s reads %q, want %q\n%q", o.name, r.name, seen, o.entry.sent, o.streams)
			}
			if !o.abort && !slices.Equal(recorded(seen), o.allowed) {
				t.Errorf("%s: %s reads %q, on record are %q", o.name, r.name, recorded(seen), o.allowed)
			}
		}
	}
}

// trimmed leaves out the end of bodies that comparing does not look at, or the bodies.
func trimmed(sent []string, bodiless bool) []string {
	var out []string
	for _, s := range sent {
		if f := strings.SplitN(s, " ", 4); bodiless && len(f) == 4 {
			s = strings.Join(f[:3], " ")
		}
		out = append(out, strings.TrimRight(s, " \r\n"))
	}
	return out
}

// recorded is how the audit log writes requests that were read.
func recorded(readings []string) []string {
	var out []string
	for _, s := range readings {
		f := strings.SplitN(s, " ", 4)
		if len(f) < 3 {
			return append(out, s)
		}
		host := strings.TrimSuffix(strings.TrimSuffix(f[1], ":80"), ":443")
		if strings.HasSuffix(host, "]") {
			host = strings.Trim(host, "[]")
		}
		resource := host + f[2]
		if len(resource) > 2<<10 { // the log keeps that much, and a hash
			resource = fmt.Sprintf("%s…sha256:%x", resource[:2<<10], sha256.Sum256([]byte(resource)))
		}
		out = append(out, f[0]+" "+resource)
	}
	return out
}

// The ways in.
const (
	forward  = "forward"
	inside   = "intercepted"
	captured = "captured"
)

// fill writes an entry's text for a way in, and what arrives for it.
func fill(e entry, way string) entry {
	t := ""
	if way == forward {
		t = "http://a.test"
	}
	e.way, e.send = way, strings.ReplaceAll(e.send, "{T}", t)
	return e
}

// connect asks for a stream by CONNECT.
func (b *bench) connect(t *testing.T, to string) net.Conn {
	t.Helper()
	nc := b.dial()
	_, err := io.WriteString(nc, "CONNECT "+to+" HTTP/1.1\r\nHost: "+to+"\r\n\r\n")
	must(t, err)
	var head []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, one...) {
		if _, err := io.ReadFull(nc, one); err != nil {
			t.Fatalf("CONNECT %s: %v after %q", to, err, head)
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 200 ") {
		t.Fatalf("CONNECT %s: %q", to, head)
	}
	return nc
}

// intercepted connects through the proxy to a host that is looked into.
func (b *bench) intercepted(t *testing.T, host string, protos ...string) *tls.Conn {
	t.Helper()
	nc := b.connect(t, host+":443")
	tc := tls.Client(nc, &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: protos})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	return tc
}

// TestRequests sends every entry that is about requests by two ways.
func TestRequests(t *testing.T) {
	b := start(t)
	for _, way := range []string{forward, inside} {
		t.Run(way, func(t *testing.T) {
			var outcomes []outcome
			total := 0
			for _, c := range classes {
				n := 0
				for _, e := range c.entries() {
					if e.only != "" && e.only != way {
						continue
					}
					n++
					t.Run(c.name+"/"+e.name, func(t *testing.T) {
						var nc client
						if way == forward {
							nc = b.dial().(*net.TCPConn)
						} else {
							nc = b.intercepted(t, "a.test")
							b.events()
						}
						outcomes = append(outcomes, b.run(t, nc, fill(e, way)))
					})
				}
				total += n
				t.Logf("%s: %d", c.name, n)
			}
			t.Logf("in total: %d", total)
			compare(t, outcomes)
		})
	}
}
