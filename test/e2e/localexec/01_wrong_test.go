package localexec

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	contract "firma/internal/localexec"
	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

const allow = `{"decision":"allow"}` + "\n"

// untilLeft keeps a connection open until the launcher has closed it.
func untilLeft(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// replay is a connection whose first bytes are read a second time.
type replay struct {
	net.Conn
	first *bytes.Reader
}

func (r *replay) Read(b []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(b)
	}
	return r.Conn.Read(b)
}

// untilGone keeps it open even though the launcher has said all, until the launcher
// has closed both directions: then writing fails.
func untilGone(c net.Conn) {
	untilLeft(c)
	u := c.(*net.UnixConn)
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always reported
		_, _ = unix.Poll(p, int(deadline.Milliseconds()))
	})
}

// wrong is a gate's answer, with words of the message that it must lead to.
type wrong struct {
	name  string
	serve func(net.Conn, contract.Request)
	want  string
}

var wrongAnswers = []wrong{
	{"deny", says(`{"decision":"deny","reason":"not on Sunday"}` + "\n"), "refused /usr/bin/touch: not on Sunday;"},
	{"deny that writes on the terminal", says(`{"decision":"deny","reason":"\u001b]0;x\u0007"}` + "\n"), "refused /usr/bin/touch: ?]0;x?;"},
	{"pending", says(`{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":20}` + "\n"), "this run does not wait"},
	{"unknown decision", says(`{"decision":"allow_once"}` + "\n"), `a decision that has no meaning: "allow_once"`},
	{"decision in capitals", says(`{"decision":"ALLOW"}` + "\n"), `a decision that has no meaning: "ALLOW"`},
	{"empty decision", says(`{"decision":""}` + "\n"), `a decision that has no meaning: ""`},

	{"silence", func(c net.Conn, _ contract.Request) { untilLeft(c) }, "did not answer within 500ms"},
	{"half a line", func(c net.Conn, _ contract.Request) { _, _ = io.WriteString(c, allow[:12]); untilLeft(c) }, "did not answer within 500ms"},
	{"a line without its end", func(c net.Conn, _ contract.Request) { _, _ = io.WriteString(c, allow[:20]); untilLeft(c) }, "did not answer within 500ms"},
	{"an answer and an open end", func(c net.Conn, _ contract.Request) {
		_, _ = io.WriteString(c, allow)
		untilGone(c)
	}, "kept the connection open after its answer"},
	{"byte by byte, too slowly", func(c net.Conn, _ contract.Request) {
		for i := range allow {
			if _, err := io.WriteString(c, allow[i:i+1]); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond) // what is wrong with this gate
		}
	}, "did not answer within 500ms"},

	{"closed at once", says(""), "closed the connection before it had answered"},
	{"closed in the middle", says(allow[:12]), "closed the connection before it had answered"},
	{"closed before the line's end", says(allow[:20]), "closed the connection before it had answered"},

	{"two answers", says(allow + allow), "sent more than the one line"},
	{"deny after allow", says(allow + `{"decision":"deny"}` + "\n"), "sent more than the one line"},
	{"junk after the line", says(allow + "x"), "sent more than the one line"},
	{"an empty line more", says(allow + "\n"), "sent more than the one line"},
	{"an empty line first", says("\n" + allow), "sent more than the one line"},
	{"junk after the object", says(`{"decision":"allow"} x` + "\n"), "something follows the JSON object"},
	{"two objects in a line", says(`{"decision":"allow"}{"decision":"allow"}` + "\n"), "something follows the JSON object"},

	{"endless", func(c net.Conn, _ contract.Request) {
		for b := strings.Repeat("x", 4096); ; {
			if _, err := io.WriteString(c, b); err != nil {
				return
			}
		}
	}, "answered with more than 16384 bytes"},
	{"a long reason", says(`{"decision":"allow","reason":"` + strings.Repeat("x", 20000) + `"}` + "\n"), "answered with more than 16384 bytes"},

	{"not JSON", says("allow\n"), "something that is not an answer"},
	{"a string", says(`"allow"` + "\n"), "something that is not an answer"},
	{"null", says("null\n"), "something that is not an answer"},
	{"a list", says(`[{"decision":"allow"}]` + "\n"), "something that is not an answer"},
	{"an empty object", says("{}\n"), "decision is missing"},
	{"true", says(`{"decision":true}` + "\n"), "decision: it is not a string"},
	{"one", says(`{"decision":1}` + "\n"), "decision: it is not a string"},
	{"null decision", says(`{"decision":null}` + "\n"), "decision: it is not a string"},
	{"a list of decisions", says(`{"decision":["allow"]}` + "\n"), "decision: it is not a string"},
	{"key in capitals", says(`{"Decision":"allow"}` + "\n"), `unknown key "Decision"`},
	{"both", says(`{"decision":"deny","decision":"allow"}` + "\n"), `"decision" appears twice`},
	{"a condition that firma does not know", says(`{"decision":"allow","only_until":"noon"}` + "\n"), `unknown key "only_until"`},
	{"a negative time", says(`{"decision":"allow","retry_after_ms":-1}` + "\n"), "retry_after_ms: it is not a number of milliseconds"},
	{"a byte order mark", says("\ufeff" + allow), "it is not a JSON object"},
	{"not UTF-8", says(`{"decision":"allow","reason":"` + "\xff" + `"}` + "\n"), "it is not one line of UTF-8"},
	{"a carriage return", says(`{"decision":"allow"}` + "\r\n"), "it is not one line of UTF-8"},
	{"HTTP", says("HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + allow), "sent more than the one line"},
	{"HTTP that leads elsewhere", says("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/allow\r\nContent-Length: 0\r\n\r\n"), "sent more than the one line"},
	{"HTTP of another type", says("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>allow</html>\n"), "sent more than the one line"},
	{"a decision in a decision", says(`{"decision":{"decision":"allow"}}` + "\n"), "decision: it is not a string"},
	{"a decision in something else", says(`{"result":{"decision":"allow"}}` + "\n"), `unknown key "result"`},
	{"deep nesting", says(`{"decision":` + strings.Repeat("[", 7000) + strings.Repeat("]", 7000) + "}\n"), "something that is not an answer"},
	{"a decision with a space", says(`{"decision":"allow "}` + "\n"), `a decision that has no meaning: "allow "`},
	{"a decision of look-alikes", says(`{"decision":"аllow"}` + "\n"), "a decision that has no meaning: "},
	{"a key by escapes and as it is", says(`{"decision":"deny","\u0064ecision":"allow"}` + "\n"), `"decision" appears twice`},
	{"its own question", func(c net.Conn, r contract.Request) {
		again, _ := r.Line()
		_, _ = c.Write(again)
	}, "something that is not an answer"},
	{"an answer, later another", func(c net.Conn, _ contract.Request) {
		_, _ = io.WriteString(c, allow)
		untilLeft(c)
		_, _ = io.WriteString(c, allow)
	}, "sent more than the one line"},
	{"TLS bytes", says("\x15\x03\x01\x00\x02\x02\x46\n"), "it is not a JSON object"},
	{"a TLS server", func(c net.Conn, r contract.Request) {
		again, _ := r.Line()
		_ = tls.Server(&replay{c, bytes.NewReader(again)}, &tls.Config{}).Handshake()
	}, "closed the connection before it had answered"},

	{"for another command", says(`{"decision":"allow","request_fingerprint":"` + strings.Repeat("0", 64) + `"}` + "\n"), "answered for another command"},
	{"for no command", says(`{"decision":"allow","request_fingerprint":"x"}` + "\n"), "request_fingerprint: it is not a SHA-256"},
	{"for the command without its arguments", func(c net.Conn, r contract.Request) {
		r.Args = nil
		_, _ = io.WriteString(c, `{"decision":"allow","request_fingerprint":"`+contract.FingerprintOf(&r)+`"}`+"\n")
	}, "answered for another command"},
}

// TestWrongAnswers: whatever a gate answers but a well-formed allow, the command is
// not executed, the message says what was wrong, the refusal is on record and the
// log is whole.
func TestWrongAnswers(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, w := range wrongAnswers {
			t.Run(w.name, func(t *testing.T) {
				s := &stage{s.World, t}
				g := s.gate("unix", w.serve)
				r := s.run(play{config: g.config()})
				s.wantRefused(t, r, w.want)
				if n := len(g.requests()); n != 1 {
					t.Errorf("the gate was asked %d times", n)
				}
				l := r.launches()
				if len(l) != 1 || !strings.HasPrefix(l[0], "DENY | ExecDenied | /usr/bin/touch | exec denied: the command gate at unix:") {
					t.Errorf("recorded %q", l)
				}
				if last := r.events[len(r.events)-1]; last.Kind != "run.end" || !strings.Contains(string(last.Raw), `"cause":"Governance"`) {
					t.Errorf("the run's last event: %s", last.Raw)
				}
			})
		}
	})
}

// TestNoGateThere: a gate that can't be reached refuses like one that says no.
func TestNoGateThere(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		dead := filepath.Join(s.Base, "dead.sock")
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
		must(t, err)
		ln.SetUnlinkOnClose(false)
		ln.Close()
		must(t, os.Chmod(dead, 0o777))
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		tcp.Close()
		for name, tt := range map[string]struct{ endpoint, want string }{
			"no socket":        {"unix:" + s.Base + "/none.sock", "no such file or directory"},
			"nobody serves it": {"unix:" + dead, "connection refused"},
			"a file":           {"unix:" + s.write("file", ""), "can't be reached"},
			"a directory":      {"unix:" + s.dir("d"), "can't be reached"},
			"a closed port":    {"tcp:" + tcp.Addr().String(), "connection refused"},
		} {
			r := s.run(play{config: (&gate{endpoint: tt.endpoint}).config()})
			s.wantRefused(t, r, tt.want)
			if !strings.Contains(r.Stderr, "can't be reached") {
				t.Errorf("%s: %s", name, r.Stderr)
			}
		}
	})
}

// TestWrongAnswersByTCP: a gate that is reached by TCP is believed no more.
func TestWrongAnswersByTCP(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, w := range []wrong{
			{"reset", func(c net.Conn, _ contract.Request) { _ = c.(*net.TCPConn).SetLinger(0) }, ""},
			{"reset in the middle", func(c net.Conn, _ contract.Request) {
				_, _ = io.WriteString(c, allow[:12])
				_ = c.(*net.TCPConn).SetLinger(0)
			}, ""},
			{"reset behind the line", func(c net.Conn, _ contract.Request) {
				_, _ = io.WriteString(c, allow)
				_ = c.(*net.TCPConn).SetLinger(0)
			}, ""},
			{"silence", func(c net.Conn, _ contract.Request) { untilLeft(c) }, "did not answer within 500ms"},
			{"deny", says(`{"decision":"deny"}` + "\n"), "refused /usr/bin/touch"},
			{"junk after the line", says(allow + "x"), "sent more than the one line"},
		} {
			t.Run(w.name, func(t *testing.T) {
				s := &stage{s.World, t}
				s.wantRefused(t, s.run(play{config: s.gate("tcp", w.serve).config()}), w.want)
			})
		}
	})
}

// TestGateOfAnotherAccount: a Sidecar's gate that another account runs does not
// answer this one; it is not taken for an answer.
func TestGateOfAnotherAccount(t *testing.T) {
	all, err := account.All()
	must(t, err)
	if len(all) < 2 {
		t.Skip("one account only")
	}
	everyone(t, func(t *testing.T, s *stage) {
		for _, other := range all {
			if other.UID == s.Account.UID || s.Account.UID == 0 {
				continue // root may ask everybody
			}
			theirs := &stage{world.New(t, other), t}
			flag := theirs.alone("allow")
			socket := strings.TrimSuffix(strings.TrimPrefix(flag, "unix://"), "s.sock") + "s-tools.sock"
			must(t, errors.Join(os.Chmod(filepath.Dir(socket), 0o755), os.Chmod(socket, 0o666)))
			s.wantRefused(t, s.run(play{config: (&gate{endpoint: "unix:" + socket}).config()}), "")
		}
	})
}

// TestWrongAnswersWhileWaiting: the wait for a person ends in an execution only by
// an allow.
func TestWrongAnswersWhileWaiting(t *testing.T) {
	const pending = `{"decision":"pending_hitl","approval_token":"apr_1","retry_after_ms":20}` + "\n"
	async := []string{`hitl_mode = "async_token"`, `hitl_max_wait = "1s"`}
	everyone(t, func(t *testing.T, s *stage) {
		for _, tt := range []struct{ name, first, then, want string }{
			{"nobody", pending, pending, "nobody approved /usr/bin/touch within 1s"},
			{"refused", pending, `{"decision":"deny","reason":"no"}` + "\n", "refused /usr/bin/touch: no"},
			{"no token", `{"decision":"pending_hitl"}` + "\n", allow, "gave no token to ask again with"},
			{"an empty token", `{"decision":"pending_hitl","approval_token":""}` + "\n", allow, "gave no token to ask again with"},
			{"a token with a space", `{"decision":"pending_hitl","approval_token":"a b"}` + "\n", allow, "approval_token: it must be visible ASCII"},
			{"another token", pending, `{"decision":"pending_hitl","approval_token":"apr_2"}` + "\n", "changed its approval token"},
			{"broken later", pending, "allow\n", "something that is not an answer"},
			{"gone later", pending, "", "closed the connection before it had answered"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := &stage{s.World, t}
				g := s.gate("unix", func(c net.Conn, r contract.Request) {
					if r.ApprovalToken == "" {
						_, _ = io.WriteString(c, tt.first)
						return
					}
					_, _ = io.WriteString(c, tt.then)
				})
				s.wantRefused(t, s.run(play{config: g.config(async...)}), tt.want)
				for i, r := range g.requests() {
					if want := map[bool]string{false: "apr_1"}[i == 0]; r.ApprovalToken != want || r.Mode != contract.AsyncToken {
						t.Errorf("question %d has token %q and mode %q", i, r.ApprovalToken, r.Mode)
					}
				}
			})
		}
	})
}
