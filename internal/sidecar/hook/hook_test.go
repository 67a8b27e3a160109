package hook

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"firma/internal/intent"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
	"firma/internal/wire/interceptorv1"
	"firma/internal/wire/interceptorv1/interceptorv1connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// judge allows GET, modifies PUT, and denies the rest; it notes what it judged.
type judge struct {
	proxy.Enforcer // nothing else is called
	mu             sync.Mutex
	log            []string
	noted          chan struct{} // gets one for each note, while there is room
}

func (j *judge) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.log = append(j.log, s)
	select {
	case j.noted <- struct{}{}:
	default:
	}
}

func (j *judge) told() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.log, ";")
}

func (j *judge) Enforce(_ context.Context, c *intent.Call) verdict.Decision {
	j.note(strings.TrimSpace(c.Transport + " " + c.Method + " " + c.HostKey() + c.Target() + " " + c.Override))
	switch c.Method {
	case "GET":
		return verdict.Decision{Outcome: verdict.Allow}
	case "PUT":
		return verdict.Decision{Outcome: verdict.Modify, RedactHeaders: []string{"cookie"}}
	case "HEAD":
		return verdict.Decision{}
	}
	return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no"}
}

func (j *judge) Refuse(_ context.Context, _ *intent.Call, _ verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	j.note("refuse")
	return verdict.Decision{Outcome: verdict.Deny, Reason: r, Detail: detail}
}

func (j *judge) Malformed(_ context.Context, transport, detail string) verdict.Decision {
	j.note("malformed " + transport)
	return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.MalformedRequest, Detail: detail}
}

func serve(t *testing.T, j *judge) string {
	t.Helper()
	j.noted = make(chan struct{}, 1)
	s, err := New(Config{Enforcer: j, Session: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	return listen(t, s)
}

func listen(t *testing.T, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

// client speaks real gRPC: HTTP/2 without TLS.
func client(t *testing.T, url string) interceptorv1connect.InterceptorHookClient {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return interceptorv1connect.NewInterceptorHookClient(&http.Client{Transport: tr}, url, connect.WithGRPC())
}

// headers is a question about a.test with headers.
func headers(method string, pairs ...string) *interceptorv1.InterceptRequest {
	q := &interceptorv1.InterceptRequest{Method: method, Host: "a.test", Path: "/", Headers: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		q.Headers[pairs[i]] = pairs[i+1]
	}
	return q
}

func TestIntercept(t *testing.T) {
	j := &judge{}
	c := client(t, serve(t, j))
	for _, tt := range []struct {
		name    string
		q       *interceptorv1.InterceptRequest
		allowed bool
		reason  string // prefix
		judged  string
	}{
		{"allowed", &interceptorv1.InterceptRequest{Method: "GET", Host: "A.test", Path: "/x/../y?q=1", IsHttps: true, SessionId: "mine"}, true, "", "https GET a.test/y?q=1"},
		{"plain", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test:8080"}, true, "", "http GET a.test:8080/"},
		{"denied", &interceptorv1.InterceptRequest{Method: "POST", Host: "a.test", Path: "/", IsHttps: true}, false, "PolicyDenied: no", "https POST a.test/"},
		{"tunnel", &interceptorv1.InterceptRequest{Method: "CONNECT", Host: "a.test:443"}, false, "PolicyDenied", "connect CONNECT a.test"},
		{"override", &interceptorv1.InterceptRequest{Method: "POST", Host: "a.test", Path: "/", Headers: map[string]string{"x-http-method-override": "delete"}}, false, "PolicyDenied", "http POST a.test/ DELETE"},
		{"a change nobody makes", &interceptorv1.InterceptRequest{Method: "PUT", Host: "a.test", Path: "/"}, false, "PolicyDenied: the policies allow this call only without the headers cookie", "http PUT a.test/;refuse"},
		{"no decision", &interceptorv1.InterceptRequest{Method: "HEAD", Host: "a.test", Path: "/"}, false, "FailClosed", "http HEAD a.test/"},
		{"same host header", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Headers: map[string]string{"Host": "A.TEST"}}, true, "", "http GET a.test/"},
		{"other host header", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Headers: map[string]string{"Host": "b.test"}}, false, "MalformedRequest", "malformed grpc"},
		{"misleading header", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Headers: map[string]string{"X-Original-URL": "/admin"}}, false, "MalformedRequest", "malformed grpc"},
		{"push", &interceptorv1.InterceptRequest{Method: "POST", Host: "a.test", Path: "/o/r.git/git-receive-pack", Body: []byte("0000")}, false, "PolicyDenied", "http POST a.test/o/r.git/git-receive-pack"},
		{"push that can't be read", &interceptorv1.InterceptRequest{Method: "POST", Host: "a.test", Path: "/o/r.git/git-receive-pack", Body: []byte("hello")}, false, "MalformedRequest: the commands of a git push", "malformed grpc"},
		{"another session", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", SessionId: "other"}, false, "MalformedRequest", "malformed grpc"},
		{"another host header in other letters", headers("GET", "Host", "a.test", "host", "a.test"), false, "MalformedRequest", "malformed grpc"},
		{"header that is two", headers("GET", "X-A", "1\r\nX-Original-URL: /admin"), false, "MalformedRequest", "malformed grpc"},
		{"name that is two", headers("GET", "X-A: 1\r\nX-Original-URL", "/admin"), false, "MalformedRequest", "malformed grpc"},
		{"name with a space", headers("GET", "X-Original-URL ", "/admin"), false, "MalformedRequest", "malformed grpc"},
		{"name with underscores", headers("GET", "x_original_url", "/admin"), false, "MalformedRequest", "malformed grpc"},
		{"pseudo-header", headers("GET", ":authority", "b.test"), false, "MalformedRequest", "malformed grpc"},
		{"two overrides", headers("GET", "X-HTTP-Method-Override", "PUT", "X-Method-Override", "DELETE"), false, "MalformedRequest", "malformed grpc"},
		{"another protocol", headers("GET", "Upgrade", "h2c"), false, "MalformedRequest", "malformed grpc"},
		{"WebSocket", headers("GET", "Upgrade", "websocket"), true, "", "http GET a.test/"},
		{"length of two kinds", headers("GET", "Content-Length", "0", "Transfer-Encoding", "chunked"), false, "MalformedRequest", "malformed grpc"},
		{"length of another body", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Headers: map[string]string{"content-length": "0"}, Body: []byte("GET /admin")}, false, "MalformedRequest", "malformed grpc"},
		{"length of the body", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Headers: map[string]string{"content-length": "2"}, Body: []byte("ok")}, true, "", "http GET a.test/"},
		{"length of a body left out", headers("GET", "Content-Length", "700"), true, "", "http GET a.test/"},
		{"length that may be octal", headers("GET", "Content-Length", "010"), false, "MalformedRequest", "malformed grpc"},
		{"length that is none", headers("GET", "Content-Length", "+1"), false, "MalformedRequest", "malformed grpc"},
		{"chunked twice", headers("GET", "Transfer-Encoding", "chunked, chunked"), false, "MalformedRequest", "malformed grpc"},
		{"tunnel with a path", &interceptorv1.InterceptRequest{Method: "CONNECT", Host: "a.test:443", Path: "/x"}, false, "MalformedRequest", "malformed grpc"},
		{"method in other letters", headers("get"), false, "MalformedRequest", "malformed grpc"},
		{"user in the host", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test@b.test", Path: "/"}, false, "MalformedRequest", "malformed grpc"},
		{"nothing", &interceptorv1.InterceptRequest{}, false, "MalformedRequest", "malformed grpc"},
		{"absolute path", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "http://b.test/"}, false, "MalformedRequest", "malformed grpc"},
		{"line feed", &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/\r\nX: y"}, false, "MalformedRequest", "malformed grpc"},
		{"tunnel without port", &interceptorv1.InterceptRequest{Method: "CONNECT", Host: "a.test"}, false, "MalformedRequest", "malformed grpc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j.log = nil
			resp, err := c.Intercept(context.Background(), connect.NewRequest(tt.q))
			if err != nil {
				t.Fatal(err)
			}
			if resp.Msg.Allowed != tt.allowed || !strings.HasPrefix(resp.Msg.Reason, tt.reason) || tt.allowed != (resp.Msg.Reason == "") {
				t.Errorf("%v", resp.Msg)
			}
			if j.told() != tt.judged {
				t.Errorf("judged %q, want %q", j.log, tt.judged)
			}
		})
	}
}

// TestTooLarge: a question beyond the bound is an error of the call, not an allow.
func TestTooLarge(t *testing.T) {
	j := &judge{}
	c := client(t, serve(t, j))
	_, err := c.Intercept(context.Background(), connect.NewRequest(&interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", Body: bytes.Repeat([]byte("x"), maxMessage)}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted || j.told() != "malformed grpc" {
		t.Errorf("%v, judged %q", err, j.told())
	}
}
