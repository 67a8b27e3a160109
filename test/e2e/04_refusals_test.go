package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refusal is one call that must not go through, and the one word for it that
// stands in the answer, the log and the summary.
type refusal struct {
	target   string // for ask.py
	answer   string // status, denied or aborted, reason
	kind     string // of the event
	reason   string
	resource string // part of the event's
	fix      string // part of the summary's, "" if it offers none
}

func denied(target, kind, reason, resource, fix string) refusal {
	return refusal{target, "403 denied " + reason, kind, reason, resource, fix}
}

func aborted(target, reason, resource string) refusal {
	return refusal{target, "504 aborted " + reason, "dispatch", reason, resource, ""}
}

var refusals = []refusal{
	denied("http://unmapped.test/x", "request", "UnclassifiedIntent", "unmapped.test/x", "firma run --allow unmapped.test"),
	denied("CONNECT:unmapped.test:443", "tunnel", "UnclassifiedIntent", "unmapped.test", "firma run --allow unmapped.test"),
	denied("http://unmapped.test:8080/x", "request", "UnclassifiedIntent", "unmapped.test:8080/x", "firma run --allow unmapped.test:8080"),
	denied("http://evil.test/x", "request", "PolicyDenied", "evil.test/x", "permit repo.admin"),
	denied("CONNECT:evil.test:443", "tunnel", "PolicyDenied", "evil.test", "permit repo.admin"),
	denied("http://localhost/x", "egress", "DestinationForbidden", "localhost/x", "[sidecar.egress]"),
	denied("CONNECT:localhost:443", "egress", "DestinationForbidden", "localhost", "[sidecar.egress]"),
	denied("http://metadata.google.internal/x", "request", "DestinationForbidden", "metadata.google.internal/x", "[sidecar.egress]"),
	denied("http://plain.test/a%2f..%2fb", "request", "MalformedRequest", "malformed", ""),
	denied("http://plain.test/../x", "request", "MalformedRequest", "malformed", ""),
	denied("CONNECT:secure.test", "request", "MalformedRequest", "malformed", ""),
	aborted("http://down.test/x", "CONNECTOR_FAILURE", "down.test/x"),
	aborted("CONNECT:down.test:443", "CONNECTOR_FAILURE", "down.test"),
	aborted("http://mute.test/x", "CONNECTOR_FAILURE", "mute.test/x"),
	aborted("http://babble.test/x", "CONNECTOR_FAILURE", "babble.test/x"),
}

// difficult are hosts that a rule allows and that don't answer.
func (s *stage) difficult(t *testing.T) string {
	t.Helper()
	return s.configure(t, settings{
		hosts: map[string]string{
			"down.test": closedPort(t),
			"mute.test": speak(t, ""), "babble.test": speak(t, "this is not HTTP\r\n\r\n"),
		},
		rules: rule("down.test", "code.read") + rule("mute.test", "code.read") + rule("babble.test", "code.read") +
			rule("localhost", "code.read") + rule("metadata.google.internal", "code.read"),
	})
}

// closedPort is an address on loopback where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) }) // bound for as long, so that nobody else gets it
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
}

// speak answers every connection with a text, once something was asked, and closes.
func speak(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte(text))
			c.Close()
		}
	}()
	return ln.Addr().String()
}

// TestRefusals: each refusal has its word, the same for the agent, in the log and in
// the summary with the way out; and nothing of it arrives.
func TestRefusals(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := run("python3", "ask.py")
		for _, f := range refusals {
			p.command = append(p.command, f.target)
		}
		p.config = s.difficult(t)
		r := s.run(t, p).wantCode(t, 0)
		events := r.events(t)
		for i, line := range strings.Split(strings.TrimSpace(r.out), "\n") {
			t.Run(refusals[i].target, func(t *testing.T) { refusals[i].check(t, r, line, events) })
		}
		if arrived := s.origin.Records(); len(arrived) != 0 {
			t.Errorf("arrived: %v", arrived)
		}
		s.wantSealed(t, r)
	})
}

func (f refusal) check(t *testing.T, r *result, answer string, events []event) {
	if want := f.answer + " " + f.target; answer != want {
		t.Errorf("the agent saw %q, want %q", answer, want)
	}
	outcome := "DENY"
	if strings.Contains(f.answer, "aborted") {
		outcome = "ABORT"
	}
	if len(find(events, pattern(f.kind, outcome, f.reason, f.resource))) == 0 {
		t.Errorf("no %s %s %s %q in the log%s", f.kind, outcome, f.reason, f.resource, told(events))
	}
	f.checkSummary(t, r.err)
}

func (f refusal) checkSummary(t *testing.T, summary string) {
	t.Helper()
	host, _, _ := strings.Cut(f.resource, "/")
	lines := strings.Split(summary, "\n")
	for i, l := range lines {
		if strings.Contains(l, " "+f.reason+":") && strings.Contains(l, host) {
			if f.fix != "" && !strings.Contains(lines[i+1], f.fix) {
				t.Errorf("no fix %q in the summary after %q: %q", f.fix, l, lines[i+1])
			}
			return
		}
	}
	t.Errorf("no line %s for %s in the summary:\n%s", f.reason, host, summary)
}

// forbiddenAddresses are addresses nobody may be sent to, in the spellings that
// some client or library understands.
var forbiddenAddresses = []string{
	"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
	"[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
	"0.0.0.0", "0", "[::]",
	"10.0.0.1", "0xa000001", "012.0.0.1", "10.1", "172.16.0.1", "192.168.1.1", "192.168.257", "3232235777", "100.64.0.1", "[fd00::1]",
	"169.254.1.1", "[fe80::1]", "169.254.169.254", "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376",
	"169.254.43518", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[fd00:ec2::254]",
	"224.0.0.1", "255.255.255.255", "[ff02::1]", "198.18.0.1",
}

// TestForbiddenAddresses: no spelling of a loopback, private, link-local, metadata
// or multicast address gets anywhere, by URL or by tunnel.
func TestForbiddenAddresses(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := run("python3", "ask.py")
		for _, a := range forbiddenAddresses {
			p.command = append(p.command, "http://"+a+"/x", "CONNECT:"+a+":443")
		}
		p.config = s.configure(t, settings{rules: rule("*", "code.read")})
		r := s.run(t, p).wantCode(t, 0)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if len(lines) != 2*len(forbiddenAddresses) {
			t.Fatalf("%d answers for %d addresses", len(lines), len(forbiddenAddresses))
		}
		for _, l := range lines {
			if !strings.HasPrefix(l, "403 denied DestinationForbidden ") {
				t.Errorf("the agent saw %q", l)
			}
		}
		if n := len(find(r.events(t), pattern("", "DENY", "DestinationForbidden", ""))); n != len(lines) {
			t.Errorf("%d refusals recorded, want %d", n, len(lines))
		}
	})
}

// TestForbiddenAddressAllowed: [sidecar.egress] opens what it names, no more.
func TestForbiddenAddressAllowed(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		at := s.origin.PlainAddr()
		literal, named := at.String(), fmt.Sprintf("localhost:%d", at.Port())
		p := run("python3", "ask.py", "http://"+literal+"/a", "http://"+named+"/b", "http://127.0.0.2:1/c")
		p.config = s.configure(t, settings{rules: rule(literal, "code.read") + rule(named, "code.read") + rule("127.0.0.2:1", "code.read")})
		r := s.run(t, p).wantCode(t, 0)
		if n := strings.Count(r.out, "403 denied DestinationForbidden"); n != 3 {
			t.Errorf("without allowed_cidrs the agent saw %s", r.out)
		}
		p.config = s.configureWith(t, p.config, "[sidecar.egress]\nallowed_cidrs = [\"127.0.0.1/32\", \"::1/128\"]\n")
		r = s.run(t, p).wantCode(t, 0)
		want := []string{"200 answered - http://" + literal + "/a", "200 answered - http://" + named + "/b",
			"403 denied DestinationForbidden http://127.0.0.2:1/c", ""}
		if r.out != strings.Join(want, "\n") {
			t.Errorf("with allowed_cidrs the agent saw %s", r)
		}
		wantArrived(t, s.origin, []arrival{{"GET /a", 1}, {"GET /b", 1}})
	})
}

// malformed are bytes that are no request, or one that two readers could read in
// two ways.
var malformed = map[string]string{
	"to the proxy itself":    "GET / HTTP/1.1\r\nHost: plain.test\r\n\r\n",
	"no HTTP at all":         "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	"two lengths":            "POST http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"length and chunks":      "POST http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two hosts":              "GET http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nHost: evil.test\r\n\r\n",
	"another host":           "GET http://plain.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"no host":                "GET http://plain.test/x HTTP/1.1\r\n\r\n",
	"user information":       "GET http://plain.test@evil.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"a fragment":             "GET http://plain.test/x#y HTTP/1.1\r\nHost: plain.test\r\n\r\n",
	"another scheme":         "GET ftp://plain.test/x HTTP/1.1\r\nHost: plain.test\r\n\r\n",
	"a WebSocket's scheme":   "GET wss://secure.test/x HTTP/1.1\r\nHost: secure.test\r\n\r\n",
	"a folded header":        "GET http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nX-A: 1\r\n 2\r\n\r\n",
	"a space before a colon": "GET http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nX-A : 1\r\n\r\n",
	"a tunnel with a body":   "CONNECT secure.test:443 HTTP/1.1\r\nHost: secure.test\r\nContent-Length: 1\r\n\r\na",
	"a tunnel to port zero":  "CONNECT secure.test:0 HTTP/1.1\r\nHost: secure.test\r\n\r\n",
	"a NUL":                  "GET http://plain.test/x%00 HTTP/1.1\r\nHost: plain.test\r\n\r\n",
}

// TestMalformed: each gets a 403 with MalformedRequest, on the record, and nothing
// arrives.
func TestMalformed(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for name, bytes := range malformed {
			t.Run(name, func(t *testing.T) {
				p := sh("python3 raw.py")
				p.stdin = strings.NewReader(bytes)
				r := s.run(t, p).wantCode(t, 0)
				if !strings.HasPrefix(r.out, "HTTP/1.1 403 ") || !strings.Contains(r.out, `"denied":true,"reason":"MalformedRequest"`) {
					t.Errorf("the agent saw %s", r)
				}
				wantRecorded(t, r.events(t), 1, pattern("request", "DENY", "MalformedRequest", ""))
			})
		}
		if arrived := s.origin.Records(); len(arrived) != 0 {
			t.Errorf("arrived: %v", arrived)
		}
	})
}

// TestDenialDoesNotWait: the answer comes though the body it refuses was never sent.
func TestDenialDoesNotWait(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		if r := s.run(t, sh("python3 head.py")).wantCode(t, 0); r.out != "HTTP/1.1 403 Forbidden\n" {
			t.Errorf("the agent saw %s", r)
		}
	})
}

// TestNames: a name that a rule covers resolves to a synthetic address, every other
// one does not exist, and that is recorded. The origin's owner is asked nothing.
func TestNames(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.run(t, run("python3", "names.py", "plain.test", "unmapped.test", "secret.data.example.com")).wantCode(t, 0)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "plain.test 198.1") || lines[1] != "unmapped.test NXDOMAIN" ||
			lines[2] != "secret.data.example.com NXDOMAIN" {
			t.Errorf("the agent saw %s", r.out)
		}
		for _, name := range []string{"unmapped.test", "secret.data.example.com"} {
			if len(find(r.events(t), pattern("dns", "DENY", "NameNotRoutable", "dns:"+name))) == 0 {
				t.Errorf("no refusal of %s recorded%s", name, told(r.events(t)))
			}
			refusal{reason: "NameNotRoutable", resource: name, fix: "firma run --allow " + name}.checkSummary(t, r.err)
		}
	})
}

// TestAllow: the command that the summary names is the one that helps; it is
// recorded as the operator's.
func TestAllow(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := sh(`curl -sS -o /dev/null -w '%{http_code}\n' http://unmapped.test/x; python3 names.py unmapped.test`)
		p.flags = append(p.flags, "--allow", "unmapped.test")
		r := s.run(t, p).wantCode(t, 0)
		if !strings.HasPrefix(r.out, "200\nunmapped.test 198.1") {
			t.Errorf("the agent saw %s", r)
		}
		wantArrived(t, s.origin, []arrival{{"GET /x", 1}})
		events := r.events(t)
		if got := fmt.Sprint(events[0].Info["operator_allowed"]); got != "[unmapped.test]" {
			t.Errorf("run.start says the operator allowed %s", got)
		}
		for _, e := range wantRecorded(t, events, 1, allow("unmapped.test/x")) {
			if e.Info["rule"] != "--allow" {
				t.Errorf("the rule is %v", e.Info["rule"])
			}
		}
	})
}

// TestUnprotected: default_protected = false lets unmapped destinations through,
// says so, and still refuses what is mapped and refused.
func TestUnprotected(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := run("python3", "ask.py", "http://unmapped.test/x", "http://evil.test/x", "http://169.254.169.254/x", "http://localhost:1/x")
		p.config = s.configure(t, settings{mapping: "default_protected = false"})
		r := s.run(t, p).wantCode(t, 0)
		want := "200 answered - http://unmapped.test/x\n403 denied PolicyDenied http://evil.test/x\n" +
			"403 denied DestinationForbidden http://169.254.169.254/x\n403 denied DestinationForbidden http://localhost:1/x\n"
		if r.out != want {
			t.Errorf("the agent saw %s", r)
		}
		if !strings.Contains(r.err, "warning: default_protected = false") {
			t.Errorf("no warning: %s", r.err)
		}
		wantRecorded(t, r.events(t), 1, pattern("request", "PASSTHROUGH", "", "unmapped.test/x"))
		wantArrived(t, s.origin, []arrival{{"GET /x", 1}})

		p.config = s.configure(t, settings{mapping: "default_protected = true"})
		if r := s.run(t, p).wantCode(t, 0); !strings.HasPrefix(r.out, "403 denied UnclassifiedIntent ") || strings.Contains(r.err, "warning") {
			t.Errorf("protected, the agent saw %s", r)
		}
	})
}

// silentAddress is an address on loopback that answers no connection attempt: its
// queue of connections is full.
func silentAddress(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 0))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	for range 3 {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(c) })
		_ = unix.Connect(c, sa) // in progress
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
}

// TestSilentOrigin: an origin that takes no connection is a timeout, also for a
// tunnel; one that says nothing until the agent leaves is on the record, too.
func TestSilentOrigin(t *testing.T) {
	t.Parallel()
	everyone(t, func(t *testing.T, s *stage) {
		t.Parallel()
		held := make(chan struct{})
		t.Cleanup(func() { close(held) })
		holds := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-held:
			}
		}))
		p := sh(`python3 ask.py http://silent.test/x & python3 ask.py CONNECT:silent.test:443 & curl -sS -m 1 http://holds.test/x & wait`)
		p.flags = nil
		p.config = s.configure(t, settings{hosts: map[string]string{"silent.test": silentAddress(t), "holds.test": holds},
			rules: rule("silent.test", "code.read") + rule("holds.test", "code.read")})
		r := s.run(t, p).wantCode(t, 0)
		for _, f := range []refusal{aborted("http://silent.test/x", "CONNECTOR_TIMEOUT", "silent.test/x"),
			aborted("CONNECT:silent.test:443", "CONNECTOR_TIMEOUT", "silent.test")} {
			if !strings.Contains(r.out, f.answer+" "+f.target+"\n") {
				t.Errorf("the agent saw %s", r)
			}
			f.checkSummary(t, r.err)
		}
		wantRecorded(t, r.events(t), 2, pattern("dispatch", "ABORT", "CONNECTOR_TIMEOUT", "silent.test"))
		left := wantRecorded(t, r.events(t), 1, pattern("dispatch", "ABORT", "CONNECTOR_FAILURE", "holds.test"))
		if len(left) == 1 && !strings.Contains(left[0].DenyReason, "the client went away") {
			t.Errorf("recorded: %s", left[0].DenyReason)
		}
	})
}
