package standalone

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"firma/internal/testkit/world"
	"firma/internal/wire/interceptorv1"
)

const (
	intercept = "/firma.interceptor.v1.InterceptorHook/Intercept"
	overGRPC  = "mode = \"grpc\"\n"
)

// ask is what a program asks that makes its calls itself; grpc-go is the client.
func ask(c *grpc.ClientConn, q *interceptorv1.InterceptRequest) (*interceptorv1.InterceptResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	out := &interceptorv1.InterceptResponse{}
	return out, c.Invoke(ctx, intercept, q, out)
}

func (d *side) asker() *grpc.ClientConn {
	d.t.Helper()
	target := "passthrough:///" + d.addr
	if filepath.IsAbs(d.addr) {
		target = "unix://" + d.addr
	}
	c, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(d.t, err)
	d.t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantAnswer fails unless q gets reason, "" for an ALLOW.
func wantAnswer(t *testing.T, c *grpc.ClientConn, reason string, q *interceptorv1.InterceptRequest) {
	t.Helper()
	got, err := ask(c, q)
	if err != nil || got.Allowed != (reason == "") || reason == "" && got.Reason != "" || !strings.HasPrefix(got.Reason, reason) {
		t.Errorf("%s %s%s: allowed %v, %q, %v; want %q", q.Method, q.Host, q.Path, got.Allowed, got.Reason, err, reason)
	}
}

func get3(host, path string) *interceptorv1.InterceptRequest {
	return &interceptorv1.InterceptRequest{Method: "GET", Host: host, Path: path}
}

// both is each place where questions can be asked.
func (s *stage) both() map[string]string {
	return map[string]string{
		"tcp":  overGRPC + anyPort,
		"unix": overGRPC + "socket_path = \"" + filepath.Join(s.fresh("sock"), "hook.sock") + "\"",
	}
}

// TestAsked: each question is decided as a call by any other way in is, and
// recorded; nothing is carried out, and a revocation counts for the next question.
func TestAsked(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		_, url := plane.serve()
		for network, listen := range s.both() {
			t.Run(network, func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				s.origin.Reset()
				session := "s-" + network
				seed := plane.issue(session, "--action", "code.read", "--action", "repo.admin")
				narrow := plane.issue(session, "--action", "code.write", "--resource-scope", "plain.test/mine")
				d := s.alone(plane.led(listen, url) + fmt.Sprintf("[sidecar.capability_seed]\npaths = [%q, %q]\n", seed, narrow))
				c := d.asker()
				for _, w := range []struct {
					reason string
					q      *interceptorv1.InterceptRequest
				}{
					{"", get3("plain.test", "/bytes/3")},
					{"", &interceptorv1.InterceptRequest{Method: "GET", Host: "PLAIN.test", Path: "/a/../b?q=1", IsHttps: true, SessionId: session, Headers: map[string]string{"Accept": "*/*"}}},
					{"", &interceptorv1.InterceptRequest{Method: "POST", Host: "plain.test", Path: "/mine/x", Body: []byte("x")}},
					{"CapabilityScopeMismatch: ", &interceptorv1.InterceptRequest{Method: "POST", Host: "plain.test", Path: "/others/x"}},
					{"CapabilityScopeMismatch: ", &interceptorv1.InterceptRequest{Method: "GET", Host: "plain.test", Path: "/others/x", Headers: map[string]string{"X-HTTP-Method-Override": "POST"}}},
					{"PolicyDenied: ", get3("evil.test", "/")},
					{"UnclassifiedIntent: ", get3("unknown.test", "/")},
					{"UnclassifiedIntent: ", &interceptorv1.InterceptRequest{Method: "CONNECT", Host: "plain.test:443"}},
					{"DestinationForbidden: ", get3("169.254.169.254", "/latest/meta-data/")},
					{"DestinationForbidden: ", get3(d.health, "/healthz")},
					{"MalformedRequest: ", &interceptorv1.InterceptRequest{}},
					{"MalformedRequest: ", &interceptorv1.InterceptRequest{Method: "GET", Host: "plain.test", Path: "/", Headers: map[string]string{"Host": "evil.test"}}},
					{"MalformedRequest: ", &interceptorv1.InterceptRequest{Method: "GET", Host: "plain.test", Path: "/", SessionId: "somebody-else"}},
				} {
					wantAnswer(t, c, w.reason, w.q)
				}
				if _, err := ask(c, &interceptorv1.InterceptRequest{Method: "GET", Host: "plain.test", Path: "/", Body: make([]byte, 5<<20)}); status.Code(err) != codes.ResourceExhausted {
					t.Errorf("5 MiB: %v", err)
				}
				if o := s.firma(plane.state, "authority", "-c", plane.config, "revocations", "add", tokenID(s, seed)); o.Code != 0 {
					t.Fatal(o.Stderr)
				}
				for end := time.Now().Add(deadline); ; {
					got, err := ask(c, get3("plain.test", "/bytes/3"))
					if err != nil || time.Now().After(end) {
						t.Fatalf("after the revocation: %v, %v", got, err)
					}
					if !got.Allowed {
						break
					}
				}
				wantAnswer(t, c, "CapabilityRevoked: ", get3("plain.test", "/bytes/3"))
				if n := len(s.origin.Requests("plain.test")); n != 0 {
					t.Errorf("%d calls were carried out", n)
				}
				d.signal(syscall.SIGTERM)
				d.wantEnd(0, "audit log sealed")
				d.wantSealed()
				wantReasons(t, d, session, "CapabilityScopeMismatch", "PolicyDenied", "UnclassifiedIntent", "DestinationForbidden", "MalformedRequest", "CapabilityRevoked")
			})
		}
	})
}

// wantReasons fails unless each is recorded, for the session, and a call was allowed.
func wantReasons(t *testing.T, d *side, session string, reasons ...string) {
	t.Helper()
	seen, allowed := map[string]int{}, 0
	for _, e := range d.events() {
		if e.SessionID != session {
			t.Errorf("an event of the session %q", e.SessionID)
		}
		seen[e.Reason]++
		if e.Reason == "" && strings.HasPrefix(e.Resource, "plain.test/") {
			allowed++
		}
	}
	for _, r := range reasons {
		if seen[r] == 0 {
			t.Errorf("%s is not recorded: %v", r, seen)
		}
	}
	if allowed < 3 {
		t.Errorf("%d allowed calls are recorded", allowed)
	}
}

// TestAskedWithoutCapability: a Sidecar without seeds answers, and allows nothing.
func TestAskedWithoutCapability(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		_, url := plane.serve()
		d := s.alone(plane.led(overGRPC+anyPort, url))
		wantAnswer(t, d.asker(), "CapabilityNotFound: ", get3("plain.test", "/bytes/3"))
	})
}

// TestAskedWrongly: what is no question gets no permission, and is recorded; other
// languages are not answered, and no run attaches.
func TestAskedWrongly(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		d := s.alone(plane.seeded(overGRPC+anyPort, plane.issue("s-1")))
		good, err := proto.Marshal(get3("plain.test", "/bytes/3"))
		must(t, err)
		whole := framed(0, good)
		if got, _ := d.raw(whole); !bytes.Equal(got, framed(0, []byte{8, 1})) {
			t.Fatalf("the control: %x", got)
		}
		bad := map[string][]byte{
			"nothing": nil, "half": whole[:len(whole)-1], "two": append(bytes.Clone(whole), whole...), "compressed": framed(1, good),
			"not protobuf": framed(0, []byte("GET / HTTP/1.1\r\n\r\n")), "unknown field": framed(0, append(bytes.Clone(good), 0x42, 1, 'x')), "flags": framed(0x80, good),
		}
		for name, body := range bad {
			if got, code := d.raw(body); bytes.Contains(got, []byte{8, 1}) {
				t.Errorf("%s: allowed, %s", name, code)
			}
		}
		if code, body := get(t, d, "GET", "http://plain.test/bytes/3"); code != 0 {
			t.Errorf("it serves as a proxy: %d %s", code, body)
		}
		o := s.Run(t, world.Command{Args: []string{s.Firma, "run", "--config", s.Base + "/run.toml", "--sidecar", d.listen, "--", "echo", "executed"},
			Env: []string{"FIRMA_STATE_DIR=" + d.state}})
		if o.Code != 125 || !strings.Contains(o.Stderr, "firma: error: "+"SidecarTakesNoRuns"+": ") || !strings.Contains(o.Stderr, "unix_socket") || o.Stdout != "" {
			t.Errorf("a run: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		d.signal(syscall.SIGTERM)
		d.wantEnd(0)
		d.wantSealed()
		n := 0
		for _, e := range world.Refusals(d.events()) {
			if e.Reason == "MalformedRequest" {
				n++
			}
		}
		if n != len(bad) {
			t.Errorf("%d refusals are recorded, want %d", n, len(bad))
		}
		if o := s.Run(t, world.Command{Args: []string{s.Firma, "sidecar", "-c", s.write("both.toml", s.base(overGRPC+anyPort+"\nsocket_path = \"/s\"")), "--health-bind-addr", "127.0.0.1:0"},
			Env: []string{"FIRMA_STATE_DIR=" + d.state}}); o.Code != 1 || !strings.Contains(o.Stderr, "ConfigValidation") {
			t.Errorf("two places: %d %s", o.Code, o.Stderr)
		}
	})
}

func framed(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// raw sends the body of a question as it is, and returns that of the answer and
// gRPC's status.
func (d *side) raw(body []byte) ([]byte, string) {
	d.t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	r, err := http.NewRequest("POST", "http://"+d.addr+intercept, bytes.NewReader(body))
	must(d.t, err)
	r.Header.Set("Content-Type", "application/grpc")
	res, err := (&http.Client{Transport: tr, Timeout: deadline}).Do(r)
	if err != nil {
		return nil, err.Error()
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err.Error()
	}
	return got, res.Trailer.Get("Grpc-Status")
}

// TestAskedAtTheEnd: a question that is not whole at SIGTERM is cut when the time
// is over, new ones are not taken, and the log is sealed.
func TestAskedAtTheEnd(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		d := s.alone(plane.seeded(overGRPC+anyPort+"\ndrain_timeout = \"2s\"", plane.issue("s-1")))
		good, err := proto.Marshal(get3("plain.test", "/bytes/3"))
		must(t, err)
		out, in := io.Pipe()
		r, err := http.NewRequest("POST", "http://"+d.addr+intercept, out)
		must(t, err)
		r.Header.Set("Content-Type", "application/grpc")
		tr := &http.Transport{Protocols: new(http.Protocols)}
		tr.Protocols.SetUnencryptedHTTP2(true)
		defer tr.CloseIdleConnections()
		answer := make(chan []byte, 1)
		go func() {
			var b []byte
			if res, err := (&http.Client{Transport: tr}).Do(r); err == nil {
				b, _ = io.ReadAll(res.Body)
				res.Body.Close()
			}
			answer <- b
		}()
		_, err = in.Write(framed(0, good)[:7])
		must(t, err)
		d.signal(syscall.SIGTERM)
		d.says("draining")
		if conn, err := net.Dial("tcp", d.addr); err == nil {
			conn.Close()
			t.Error("a new connection was taken")
		}
		d.wantEnd(0, "audit log sealed")
		in.CloseWithError(io.ErrUnexpectedEOF)
		if got := <-answer; bytes.Contains(got, []byte{8, 1}) {
			t.Errorf("allowed: %x", got)
		}
		d.wantSealed()
	})
}

// TestAskedWithoutRoom: an ALLOW that can't be recorded is a DENY.
func TestAskedWithoutRoom(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		path := s.write("full.toml", plane.seeded(overGRPC+anyPort, plane.issue("s-1")))
		state := s.fresh("state")
		script := `mount -t tmpfs -o size=512k,mode=700 firma "$FIRMA_STATE_DIR" && : >"$FIRMA_STATE_DIR/fill" && exec "$@"`
		d := &side{s: s, state: state}
		d.process = s.startCommand(world.Command{Env: []string{"FIRMA_STATE_DIR=" + state},
			Args: []string{"/usr/bin/unshare", "-rm", "/bin/sh", "-c", script, "sh", s.Firma, "sidecar", "-c", path, "--health-bind-addr", "127.0.0.1:0"}})
		d.says("msg=ready")
		d.addr = listening.FindStringSubmatch(d.err.String())[1]
		c := d.asker()
		wantAnswer(t, c, "", get3("plain.test", "/bytes/3"))
		inside := fmt.Sprintf("/proc/%d/root%s/fill", d.cmd.Process.Pid, state)
		f, err := os.OpenFile(inside, os.O_WRONLY, 0) // made inside: the account here may not be known there
		must(t, err)
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		f.Close()
		var got *interceptorv1.InterceptResponse
		for range 200 { // what is left of the log's last page
			if got, err = ask(c, get3("plain.test", "/"+strings.Repeat("x", 1500))); err != nil || !got.Allowed {
				break
			}
		}
		if err != nil || got.Allowed || !strings.HasPrefix(got.Reason, "AuditUnavailable") {
			t.Errorf("%v, %v", got, err)
		}
		wantAnswer(t, c, "AuditUnavailable", get3("plain.test", "/bytes/3"))
	})
}

// python asks with grpcio and the code that protoc makes of the documented file.
const python = `import sys, grpc
sys.path.insert(0, sys.argv[1])
import hook_pb2
with grpc.insecure_channel(sys.argv[2]) as channel:
    intercept = channel.unary_unary("/firma.interceptor.v1.InterceptorHook/Intercept",
        request_serializer=hook_pb2.InterceptRequest.SerializeToString,
        response_deserializer=hook_pb2.InterceptResponse.FromString)
    def ask(**q):
        try:
            a = intercept(hook_pb2.InterceptRequest(**q), timeout=20)
            print("allowed" if a.allowed else a.reason.split(":")[0])
        except grpc.RpcError as e:
            print(e.code().name)
    ask(method="GET", host="plain.test", path="/bytes/3")
    ask(method="GET", host="plain.test", path="/bytes/3", headers={"accept": "*/*"}, session_id="s-1")
    ask(method="GET", host="unknown.test", path="/")
    ask(method="GET", host="evil.test", path="/", is_https=True)
    ask(method="GET", host="plain.test", path="/", headers={"Host": "evil.test"})
    ask(method="GET", host="plain.test", path="/", session_id="s-2")
    ask(method="GET", host="plain.test", path="/", body=b"x" * (5 << 20))
`

// TestPython: a client that none of us wrote, from the file in the documentation.
func TestPython(t *testing.T) {
	page, err := os.ReadFile("../../../docs/interceptor.md")
	must(t, err)
	file := regexp.MustCompile("(?s)```proto\n(.*?)```").FindSubmatch(page)
	if file == nil {
		t.Fatal("the page shows no file")
	}
	everyone(t, func(t *testing.T, s *stage) {
		dir := s.fresh("client")
		name := filepath.Base(dir)
		s.write(name+"/hook.proto", string(file[1]))
		if o := s.Run(t, world.Command{Args: []string{"/usr/bin/protoc", "-I", dir, "--python_out", dir, "hook.proto"}}); o.Code != 0 {
			t.Fatalf("protoc (apt-get install protobuf-compiler): %s", o.Stderr)
		}
		plane := s.plane("")
		seed := plane.issue("s-1")
		for _, listen := range s.both() {
			d := s.alone(plane.seeded(listen, seed))
			target := d.addr
			if filepath.IsAbs(target) {
				target = "unix:" + target
			}
			o := s.Run(t, world.Command{Args: []string{"/usr/bin/python3", "-c", python, dir, target}})
			want := "allowed\nallowed\nUnclassifiedIntent\nCapabilityNotFound\nMalformedRequest\nMalformedRequest\nRESOURCE_EXHAUSTED\n"
			if o.Code != 0 || o.Stdout != want {
				t.Errorf("%s: status %d (apt-get install python3-grpcio)\n%s%s", target, o.Code, o.Stdout, o.Stderr)
			}
			d.signal(syscall.SIGTERM)
			d.wantEnd(0)
			d.wantSealed()
		}
	})
}

// TestAskedBySocket: its mode keeps other accounts out.
func TestAskedBySocket(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		plane := s.plane("")
		d := s.alone(plane.seeded(s.both()["unix"], plane.issue("s-1")))
		info, err := os.Stat(d.addr)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	})
}
