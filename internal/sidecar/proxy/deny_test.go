package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// neverDial fails the test when a destination is dialled.
func neverDial(t testing.TB) Dialer {
	return dialFunc(func(_ context.Context, host string, _ uint16) (net.Conn, error) {
		t.Errorf("%s was dialled", host)
		return nil, errTest
	})
}

const denied = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: "

func TestDenialBodies(t *testing.T) {
	full := verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: `policy "p1" forbids\it` + "\n\x01é\xff",
		ActionClass: "code.write", Resource: "api.example.com/x", EventID: "aevt_2", Hint: "ask"}
	for _, tt := range []struct {
		name   string
		d      verdict.Decision
		status string
		want   map[string]any
		header string
	}{
		{"full", full, "HTTP/1.1 403 Forbidden", map[string]any{"denied": true, "reason": "PolicyDenied",
			"detail": "policy \"p1\" forbids\\it\n\x01é�", "action_class": "code.write", "resource": "api.example.com/x",
			"event_id": "aevt_2", "hint": "ask"}, "X-Firma-Event: aevt_2\r\n"},
		{"only what is known", verdict.Decision{Outcome: verdict.Deny, Reason: verdict.UnclassifiedIntent, Detail: "no rule", EventID: "-"},
			"HTTP/1.1 403 Forbidden", map[string]any{"denied": true, "reason": "UnclassifiedIntent", "detail": "no rule", "event_id": "-"}, ""},
		{"zero", verdict.Decision{}, "HTTP/1.1 403 Forbidden",
			map[string]any{"denied": true, "reason": "FailClosed", "detail": "no decision was made"}, ""},
		{"unknown outcome", verdict.Decision{Outcome: 99}, "HTTP/1.1 403 Forbidden",
			map[string]any{"denied": true, "reason": "FailClosed", "detail": "no decision was made", "event_id": "aevt_1"}, ""},
		{"step up", verdict.Decision{Outcome: verdict.StepUp, Detail: "approve it"}, "HTTP/1.1 403 Forbidden",
			map[string]any{"denied": true, "reason": "StepUpRequired", "detail": "approve it", "event_id": "aevt_1"}, ""},
		{"defer", verdict.Decision{Outcome: verdict.Defer, RetryAfter: 1500 * time.Millisecond}, "HTTP/1.1 403 Forbidden",
			map[string]any{"denied": true, "reason": "Deferred", "detail": "retry_after_ms: 1500", "event_id": "aevt_1"}, "Retry-After: 2\r\n"},
		{"abort", verdict.Decision{Outcome: verdict.Abort, Reason: verdict.CredentialInjectionFailed, Detail: "no key"}, "HTTP/1.1 504 Gateway Timeout",
			map[string]any{"aborted": true, "reason": "CREDENTIAL_INJECTION_FAILED", "detail": "no key", "event_id": "aevt_1"}, ""},
		{"event id that is none", verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, EventID: "a\r\nX: y"}, "HTTP/1.1 403 Forbidden",
			map[string]any{"denied": true, "reason": "PolicyDenied", "detail": "", "event_id": "a\r\nX: y"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: &enforcer{decide: deny(tt.d)}})
			c := connectTo(t, proxy)
			for _, wire := range []string{get + "\r\n", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n", get + "\r\n"} {
				c.send(wire)
				status, head, body := c.response()
				var got map[string]any
				if err := json.Unmarshal([]byte(body), &got); err != nil || status != tt.status {
					t.Fatalf("%s%s %v", head, body, err)
				}
				message := fmt.Sprintf("firma: %s: %s", tt.want["reason"], tt.want["detail"])
				if e, _ := got["error"].(map[string]any); e["message"] != strings.TrimSuffix(message, ": ") {
					t.Error(body)
				}
				delete(got, "error")
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				// The body of an answer to CONNECT is what most clients throw away.
				if told := fmt.Sprintf("%s (firma: %s", tt.status, got["reason"]); strings.HasPrefix(head, told) != strings.HasPrefix(wire, "CONNECT") {
					t.Error(head)
				}
				if !strings.Contains(head, tt.header) || !strings.Contains(head, "Content-Type: application/json\r\n") || strings.Contains(head, "X: y") {
					t.Error(head)
				}
			}
		})
	}
}

func TestDeniedHeadHasNoBody(t *testing.T) {
	_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: &enforcer{decide: deny(verdict.Decision{})}})
	c := connectTo(t, proxy)
	c.send("HEAD http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, denied) {
		t.Fatal(head, err)
	}
	c.send(get + "\r\n")
	if status, _, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Error(status)
	}
}

// TestMalformedHeadHasNoBody: a refusal of what never became a call has a body only for a
// client that reads one.
func TestMalformedHeadHasNoBody(t *testing.T) {
	const host = "Host: api.example.com\r\n"
	for name, wire := range map[string]string{
		"target":           "HEAD http://api.example.com/%zz HTTP/1.1\r\n" + host + "\r\n",
		"host":             "HEAD http://a..b/ HTTP/1.1\r\nHost: a..b\r\n\r\n",
		"other Host":       "HEAD http://api.example.com/ HTTP/1.1\r\nHost: b.test\r\n\r\n",
		"no Host":          "HEAD http://api.example.com/ HTTP/1.1\r\n\r\n",
		"version":          "HEAD http://api.example.com/ HTTP/3\r\n" + host + "\r\n",
		"space in target":  "HEAD http://api.example.com/ x HTTP/1.1\r\n" + host + "\r\n",
		"field":            "HEAD http://api.example.com/ HTTP/1.1\r\n" + host + "X y\r\n\r\n",
		"bare LF":          "HEAD http://api.example.com/ HTTP/1.1\r\n" + host + "X: y\n\r\n",
		"length":           "HEAD http://api.example.com/ HTTP/1.1\r\n" + host + "Content-Length: x\r\n\r\n",
		"length, then GET": "HEAD http://api.example.com/ HTTP/1.1\r\n" + host + "Content-Length: x\r\n\r\n" + get + "\r\n",
		"GET, then HEAD":   strings.Replace(get, "Host: api", "Host: b.api", 1) + "\r\nHEAD http://api.example.com/ HTTP/1.1\r\n" + host + "\r\n",
		"GET, length":      get + "Content-Length: x\r\n\r\nHEAD http://api.example.com/ HTTP/1.1\r\n" + host + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: &enforcer{}})
			c := connectTo(t, proxy)
			c.send(wire)
			if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, denied) {
				t.Fatal(head, err)
			}
			body, err := io.ReadAll(c.r)
			if err != nil || (len(body) == 0) != strings.HasPrefix(wire, "HEAD") {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: &enforcer{}, HeadTimeout: 20 * time.Millisecond})
		c := connectTo(t, proxy)
		c.send("HEAD http://api.example.com/ HTTP/1.1\r\nHost: api.ex")
		if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, denied) {
			t.Fatal(head, err)
		}
		if body, err := io.ReadAll(c.r); err != nil || len(body) > 0 {
			t.Errorf("%q, %v", body, err)
		}
	})
}

// TestConnectionAfterDenial: it goes on exactly when it is in step.
func TestConnectionAfterDenial(t *testing.T) {
	post := func(fields, body string) string {
		return "POST http://api.example.com/no HTTP/1.1\r\nHost: api.example.com\r\n" + fields + "\r\n" + body
	}
	for _, tt := range []struct {
		name, wire, later string
		open              bool
	}{
		{"no body", get[:len(get)-len("HTTP/1.1\r\nHost: api.example.com\r\n")-2] + "no HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "", true},
		{"whole body", post("Content-Length: 5\r\n", "hello"), "", true},
		{"whole chunked body", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), "", true},
		{"small body to come", post("Content-Length: 10\r\n", "hello"), "world", true},
		{"large body to come", post("Content-Length: 1000000\r\n", "hello"), "", false},
		{"chunked body to come", post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"), "", false},
		{"malformed body", post("Transfer-Encoding: chunked\r\n", "x\r\n"), "", false},
		{"waits for 100", post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""), "", false},
		{"asks to close", post("Connection: close\r\n", ""), "", false},
		{"HTTP/1.0", "GET http://api.example.com/no HTTP/1.0\r\n\r\n", "", false},
		{"tunnel with early bytes", "CONNECT no.example.com:443 HTTP/1.1\r\nHost: no.example.com:443\r\n\r\n\x16\x03\x01", "", false},
		{"tunnel", "CONNECT no.example.com:443 HTTP/1.1\r\nHost: no.example.com:443\r\n\r\n", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _, _ := answering(t, ok)
			e := &enforcer{decide: func(c *intent.Call) verdict.Decision {
				if c.Path == "/no" || c.Method == "CONNECT" {
					return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied}
				}
				return verdict.Decision{Outcome: verdict.Allow}
			}}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
			c := connectTo(t, proxy)
			c.send(tt.wire)
			status, head, _ := c.response()
			if status != "HTTP/1.1 403 Forbidden" || strings.Contains(head, "Connection: close") == tt.open {
				t.Error(head)
			}
			if !tt.open {
				c.expectEOF()
				return
			}
			c.send(tt.later + get + "\r\n")
			c.expect(ok)
		})
	}
}

func TestPipelinedRequestsAreJudgedOneByOne(t *testing.T) {
	addr, heads, _ := answering(t, ok)
	e := &enforcer{decide: denyPath("/no")}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e})
	c := connectTo(t, proxy)
	no := strings.Replace(get, "/x", "/no", 1) + "\r\n"
	c.send(get + "\r\n" + no + get + "\r\n")
	c.expect(ok)
	if status, _, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Error(status)
	}
	c.expect(ok)
	if diff := cmp.Diff([]string{"ALLOW GET api.example.com/x", "DENY GET api.example.com/no", "ALLOW GET api.example.com/x"}, e.take()); diff != "" {
		t.Error(diff)
	}
	if len(heads) != 2 {
		t.Errorf("%d requests went upstream", len(heads))
	}
}

// malformedWire are shapes of request that must reach neither the judge nor an
// upstream. Package http1 has the longer list of syntax.
var malformedWire = map[string]string{
	"bare LF":                     "GET http://api.example.com/ HTTP/1.1\nHost: api.example.com\n\n",
	"obs-fold":                    get + "X: a\r\n b\r\n\r\n",
	"CL and TE":                   get + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two CLs":                     get + "Content-Length: 0\r\nContent-Length: 30\r\n\r\n",
	"TE.TE":                       get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
	"TE with a tab":               get + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
	"space before colon":          get + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"no Host":                     "GET http://api.example.com/ HTTP/1.1\r\n\r\n",
	"two Hosts":                   get + "Host: evil.test\r\n\r\n",
	"empty Host":                  "GET http://api.example.com/ HTTP/1.1\r\nHost:\r\n\r\n",
	"other Host":                  "GET http://api.example.com/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"other port in Host":          "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com:8080\r\n\r\n",
	"no port in Host":             "GET http://api.example.com:8080/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"userinfo in Host":            "GET http://api.example.com/ HTTP/1.1\r\nHost: evil@api.example.com\r\n\r\n",
	"path in Host":                "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com/\r\n\r\n",
	"list in Host":                "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com, evil.test\r\n\r\n",
	"userinfo":                    "GET http://api.example.com@evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	"fragment":                    "GET http://api.example.com/#x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"backslash":                   "GET http://api.example.com\\@evil.test/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"encoded slash, then dots":    "GET http://api.example.com/a%2f..%2fb HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"climbs":                      "GET http://api.example.com/../x HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"https":                       "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"ftp":                         "GET ftp://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"lower-case method":           "get http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"origin form":                 "GET / HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n\r\n",
	"asterisk":                    "OPTIONS * HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"override names no method":    get + "X-HTTP-Method-Override: nonsense\r\n\r\n",
	"overrides disagree":          get + "X-HTTP-Method-Override: PUT\r\nX-Method-Override: DELETE\r\n\r\n",
	"override is hop-by-hop":      get + "Connection: X-HTTP-Method\r\nX-HTTP-Method: GET\r\n\r\n",
	"host is hop-by-hop":          get + "Connection: host\r\n\r\n",
	"CONNECT without port":        "CONNECT api.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT with a path":         "CONNECT api.example.com:443/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT with a scheme":       "CONNECT https://api.example.com HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT with userinfo":       "CONNECT a@api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"CONNECT, other Host":         "CONNECT api.example.com:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n",
	"CONNECT, other port in Host": "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:80\r\n\r\n",
	"CONNECT with a body":         "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello",
	"CONNECT chunked":             "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"CONNECT, absolute form":      "CONNECT http://api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"NUL in the host":             "CONNECT evil.test\x00.api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
	"HTTP/2 preface":              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"TLS":                         "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
}

func TestMalformedRequests(t *testing.T) {
	e := &enforcer{}
	_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: e})
	for name, wire := range malformedWire {
		t.Run(name, func(t *testing.T) {
			c := connectTo(t, proxy)
			c.send(wire + get + "\r\n") // whatever follows is not read as a request
			status, head, body := c.response()
			if status != "HTTP/1.1 403 Forbidden" || !strings.HasPrefix(body, `{"denied":true,"reason":"MalformedRequest","detail":"`) ||
				!strings.Contains(head, "X-Firma-Event: aevt_m\r\n") {
				t.Errorf("%s%s", head, body)
			}
			c.expectEOF()
			log := e.take()
			if len(log) != 1 || !strings.HasPrefix(log[0], "malformed ") {
				t.Errorf("%q", log)
			}
		})
	}
}

func TestClientThatTakesTheProxyForTheServer(t *testing.T) {
	_, proxy := start(t, Config{Dialer: neverDial(t)})
	c := connectTo(t, proxy)
	c.send("GET / HTTP/1.1\r\nHost: " + proxy + "\r\n\r\n")
	if _, _, body := c.response(); !strings.Contains(body, `"hint":"this is firma's proxy`) {
		t.Error(body)
	}
}

func TestSlowHead(t *testing.T) {
	e := &enforcer{}
	_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: e, HeadTimeout: 20 * time.Millisecond})
	c := connectTo(t, proxy)
	c.send("GET http://api.exam")
	if _, _, body := c.response(); !strings.Contains(body, "did not arrive in time") {
		t.Error(body)
	}
	c.expectEOF()
	_, proxy = start(t, Config{Dialer: neverDial(t), Enforcer: e, IdleTimeout: 20 * time.Millisecond})
	connectTo(t, proxy).expectEOF() // an idle connection is just closed
	if log := e.take(); len(log) != 1 {
		t.Errorf("%q", log)
	}
}

// A client may end its side and still read: it is told, and the record has it.
func TestHeadThatEndsEarly(t *testing.T) {
	e := &enforcer{}
	_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: e})
	c := connectTo(t, proxy)
	c.send("GET http://api.exam")
	c.CloseWrite()
	if _, _, body := c.response(); !strings.Contains(body, "ends within its head") {
		t.Error(body)
	}
	c.expectEOF()
	if log := e.take(); len(log) != 1 {
		t.Errorf("%q", log)
	}
}

// What is no request is refused when its first line says so, not when its head ends.
func TestFirstLineIsEnough(t *testing.T) {
	e := &enforcer{}
	_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: e})
	for _, line := range []string{"GET /x\r\n", "GET http://api.example.com/ HTTP/2.0\r\n", "GET  HTTP/1.1\r\nHost:", "EHLO x\r\n"} {
		c := connectTo(t, proxy)
		c.send(line)
		if status, _, _ := c.response(); !strings.Contains(status, " 403 ") {
			t.Errorf("%q: %q", line, status)
		}
		c.expectEOF()
	}
	if log := e.take(); len(log) != 4 {
		t.Errorf("%q", log)
	}
}

func TestRefusedAfterAllow(t *testing.T) {
	e := &enforcer{}
	forbid := dialFunc(func(context.Context, string, uint16) (net.Conn, error) {
		return nil, &refusedError{verdict.DestinationForbidden, "api.example.com resolves to 10.0.0.1"}
	})
	_, proxy := start(t, Config{Dialer: forbid, Enforcer: e})
	c := connectTo(t, proxy)
	for _, wire := range []string{get + "\r\n", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
		"POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello"} {
		c.send(wire)
		status, _, body := c.response()
		if status != "HTTP/1.1 403 Forbidden" ||
			!strings.HasPrefix(body, `{"denied":true,"reason":"DestinationForbidden","detail":"api.example.com resolves to 10.0.0.1"`) {
			t.Errorf("%s %s", status, body)
		}
	}
	want := []string{"ALLOW GET api.example.com/x", "refuse api.example.com after ALLOW: DestinationForbidden",
		"ALLOW CONNECT api.example.com", "refuse api.example.com after ALLOW: DestinationForbidden",
		"ALLOW POST api.example.com/", "refuse api.example.com after ALLOW: DestinationForbidden"}
	if diff := cmp.Diff(want, e.take()); diff != "" {
		t.Error(diff)
	}
}

type refusedError struct {
	reason verdict.Reason
	detail string
}

func (e *refusedError) Error() string                     { return e.detail }
func (e *refusedError) Refusal() (verdict.Reason, string) { return e.reason, e.detail }

func TestFailedConnects(t *testing.T) {
	for want, err := range map[string]error{
		"CONNECTOR_FAILURE": errTest, "CONNECTOR_TIMEOUT": context.DeadlineExceeded,
		"CONNECTOR_INVALID_REQUEST": &refusedError{verdict.ConnectorInvalidRequest, "x"},
	} {
		e := &enforcer{ended: make(chan Dispatch, 2)}
		_, proxy := start(t, Config{Enforcer: e, Dialer: dialFunc(func(context.Context, string, uint16) (net.Conn, error) { return nil, err })})
		c := connectTo(t, proxy)
		for _, wire := range []string{get + "\r\n", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"} {
			c.send(wire)
			status, _, body := c.response()
			if status != "HTTP/1.1 504 Gateway Timeout" || !strings.HasPrefix(body, `{"aborted":true,"reason":"`+want+`"`) {
				t.Errorf("%s %s", status, body)
			}
			if d := receive(t, e.ended); string(d.Abort) != want || d.Status != 0 {
				t.Errorf("%+v", d)
			}
		}
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	addr, _, _ := answering(t, ok)
	logged := make(chan string, 1)
	e := &enforcer{decide: func(c *intent.Call) verdict.Decision {
		if c.Path == "/no" {
			panic("policy engine")
		}
		return verdict.Decision{Outcome: verdict.Allow}
	}}
	_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, Log: logTo(logged)})
	other := connectTo(t, proxy)
	other.send(get + "\r\n")
	other.expect(ok)
	c := connectTo(t, proxy)
	c.send(strings.Replace(get, "/x", "/no", 1) + "\r\n")
	c.expectEOF()
	if line := receive(t, logged); !strings.Contains(line, "policy engine") {
		t.Error(line)
	}
	other.send(get + "\r\n")
	other.expect(ok)
}
