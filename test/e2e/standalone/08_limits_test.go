package standalone

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"firma/internal/testkit/transcript"
	"firma/internal/testkit/world"
)

// TestBodyLimit: curl's upload is refused with 413, announced or chunked, and by
// HTTP/2 inside TLS as well; one that fits passes.
func TestBodyLimit(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.shared(c, url, "max_request_body_size = \"64KiB\"")
		a := s.agent(d, nil, "--capability-file", c.issue("upload"))
		a.do("cd /tmp; head -c 65536 /dev/zero > fits; head -c 65537 /dev/zero > long; head -c 200000 /dev/zero > longer")
		for _, to := range []string{"http://plain.test/echo", "https://tls.test/echo --http1.1", "https://tls.test/echo --http2"} {
			address, more, _ := strings.Cut(to, " ")
			a.wantCurl(t, address, "200 ", more, "--data-binary @fits -o /dev/null")
			for _, how := range []string{"--data-binary @long", "-H 'Transfer-Encoding: chunked' --data-binary @longer"} {
				if got := a.wantCurl(t, address, "413 ", more, how); !strings.Contains(got, "RequestBodyTooLarge") {
					t.Errorf("%s %s: %s", to, how, got)
				}
			}
		}
		a.leave()
		refused := 0
		for _, e := range d.events() {
			if e.SessionID == "upload" && e.Outcome == "DENY" && strings.Contains(string(e.Raw), `"RequestBodyTooLarge"`) {
				refused++
			}
		}
		if refused != 6 {
			t.Errorf("%d refusals are recorded, want 6", refused)
		}
	})
}

// TestHostLimits: beyond burst a host's calls are 429 with Retry-After, of all runs
// of the Sidecar together; other hosts are not concerned; and a host that does not
// answer within its timeout is a 504.
func TestHostLimits(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		_, url := c.serve()
		d := s.shared(c, url, anyPort+"\n[[sidecar.connector.hosts]]\nhost = \"Plain.test\"\nrps = 0.01\nburst = 3\ntimeout = \"300ms\"\n")
		one, two := s.agent(d, nil), s.agent(d, nil)
		one.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		two.wantCurl(t, "http://plain.test/bytes/1", "200 x")
		one.wantCurl(t, "http://plain.test/late?ms=20000", "504 ")
		for _, a := range []*agent{one, two} {
			got := a.wantCurl(t, "http://plain.test/bytes/1", "429 ", "-D /dev/stderr")
			if !strings.Contains(got, "RateLimited") || !strings.Contains(strings.ToLower(got), "retry-after: ") {
				t.Error(got)
			}
			a.wantCurl(t, "https://tls.test/bytes/1", "200 x")
		}
		one.leave()
		two.leave()
	})
}

// TestLimitsAreChecked: a mistake in them starts nothing, and is named.
func TestLimitsAreChecked(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		whole := "host = \"a.test\"\nrps = 1\nburst = 1\ntimeout = \"1s\"\n"
		for lines, want := range map[string]string{
			strings.Replace(whole, "rps = 1\n", "", 1):                                                  "needs rps",
			strings.Replace(whole, "burst = 1", "burst = 0", 1):                                         "burst",
			strings.Replace(whole, "timeout = \"1s\"\n", "", 1):                                         "needs timeout",
			strings.Replace(whole, "a.test", "a b", 1):                                                  "a host that is none",
			strings.Replace(whole, "host = \"a.test\"\n", "", 1):                                        "needs host",
			whole + "[[sidecar.connector.hosts]]\n" + strings.Replace(whole, "a.test", "A.test:443", 1): "has limits already",
		} {
			d := s.begin(s.fresh("state"), s.base(anyPort)+"[[sidecar.connector.hosts]]\n"+lines)
			d.wantEnd(1, "firma: error: ConfigValidation: ", want)
		}
		d := s.begin(s.fresh("state"), s.base(anyPort+"\nmax_request_body_size = 0"))
		d.wantEnd(1, "firma: error: ConfigValidation: ", "max_request_body_size")
	})
}

// TestFewDescriptors: a Sidecar that may open few files takes fewer connections than
// configured, says so, and keeps what the log needs: a flood of connections ends
// neither the log nor the calls after it.
func TestFewDescriptors(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		config := s.write("side.toml", s.base(anyPort+"\nmax_total_connections = 5000")+"[sidecar.policy]\n")
		state := s.fresh("state")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &process{t: t, out: transcript.New(), err: transcript.New(), over: make(chan struct{})}
		p.cmd = s.Prepare(ctx, world.Command{Args: []string{"sh", "-c", `ulimit -n 120; exec "$0" "$@"`, s.Firma, "sidecar", "-c", config, "--health-bind-addr", free(t)}, Env: []string{"FIRMA_STATE_DIR=" + state}})
		p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
		must(t, p.cmd.Start())
		go func() { _ = p.cmd.Wait(); p.out.Close(); p.err.Close(); close(p.over) }()
		p.says("fewer connections are taken than configured")
		p.says("msg=ready")
		d := &side{process: p, s: s, state: state, addr: listening.FindStringSubmatch(p.err.String())[1]}
		var flood []net.Conn
		for range 300 {
			conn, err := net.Dial("tcp", d.addr)
			if err != nil {
				break
			}
			fmt.Fprint(conn, "GET http://plain.test/bytes/1 HTTP/1.1\r\nHost: plain.test\r\n\r\n")
			flood = append(flood, conn)
		}
		for _, conn := range flood[:10] {
			conn.SetReadDeadline(time.Now().Add(deadline))
			_, _ = conn.Read(make([]byte, 1))
		}
		for _, conn := range flood {
			conn.Close()
		}
		p.signal(syscall.SIGTERM)
		p.wantEnd(0)
		d.wantSealed()
	})
}
