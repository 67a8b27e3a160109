package escape

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"firma/internal/testkit/census"
	"firma/internal/testkit/world"
)

// live is a run that waits inside while the test acts outside.
type live struct {
	*world.Running
	family *census.Family
}

// hold starts a run whose probe makes the first tries, waits, and makes the rest
// when it is told to go on.
func (y *yard) hold(t *testing.T, k kase, after ...[]string) *live {
	t.Helper()
	batch := append([][]string{{"hold"}}, after...)
	r := y.Start(t, y.command(k, y.probe, "batch", encode(t, batch)))
	line, _ := r.Line()
	if !strings.Contains(line, "ready") {
		r.CloseInput()
		t.Fatalf("the run did not start: %s %+v", line, r.Wait(t))
	}
	return &live{r, r.Family(t)}
}

func (l *live) goOn(t *testing.T) result {
	t.Helper()
	l.Send("")
	line, _ := l.Line()
	var r result
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return r
}

// listeners are the TCP addresses of this host that a family listens on.
func listeners(t *testing.T, f *census.Family) []netip.AddrPort {
	t.Helper()
	inodes := map[string]bool{}
	for _, p := range f.Members {
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
		for _, l := range links {
			if to, err := os.Readlink(l); err == nil {
				inodes[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
			}
		}
	}
	var found []netip.AddrPort
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		must(t, err)
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && inodes[f[9]] {
				found = append(found, tableAddress(t, f[1]))
			}
		}
	}
	return found
}

// tableAddress reads an address as proc_net_tcp(5) prints it: 32-bit words in the
// machine's byte order.
func tableAddress(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	words, portText, _ := strings.Cut(s, ":")
	var raw []byte
	for ; len(words) >= 8; words = words[8:] {
		n, err := strconv.ParseUint(words[:8], 16, 32)
		must(t, err)
		raw = binary.NativeEndian.AppendUint32(raw, uint32(n))
	}
	addr, _ := netip.AddrFromSlice(raw)
	port, err := strconv.ParseUint(portText, 16, 16)
	must(t, err)
	return netip.AddrPortFrom(addr, uint16(port))
}

// TestG9OthersUseOurSidecar comes from outside while a run is live: another user,
// and another run, with no key and with a made-up one.
func TestG9OthersUseOurSidecar(t *testing.T) {
	if *wall != "firma" {
		t.Skip("nothing to use without a run")
	}
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			l := y.hold(t, kase{flags: withConfig}, []string{"http", proxy, "GET", "http://allowed.test/"})
			if c, err := net.DialTimeout("tcp", proxy, time.Second); err == nil {
				_ = c.Close()
				t.Error("ESCAPED     the sandbox's proxy port answers on the host")
			}
			found := listeners(t, l.family)
			t.Logf("the run listens on %v", found)
			for _, at := range found {
				if !at.Addr().IsLoopback() {
					t.Errorf("ESCAPED     %v can be reached from other machines", at)
				}
				refusesStrangers(t, at)
				other := y.firma(t, kase{}, y.probe, "tcp-open", at.String())
				if !strings.Contains(other.Stdout, `"refused"`) {
					t.Errorf("ESCAPED     another run reaches %v: %s%s", at, other.Stdout, other.Stderr)
				}
			}
			for _, p := range l.family.Members {
				if strings.Contains(strings.Join(p.Args[:min(len(p.Args), 4)], " "), "v4.public.") {
					t.Errorf("ESCAPED     a token is in the arguments of %v", p)
				}
			}
			if r := l.goOn(t); r.Result != "succeeded" {
				t.Errorf("DEAD        the run itself: %+v", r)
			}
			l.CloseInput()
			if o := l.Wait(t); o.Code != 0 {
				t.Errorf("exit status %d: %s", o.Code, o.Stderr)
			}
		})
	}
}

// refusesStrangers calls every method of the Authority without a key.
func refusesStrangers(t *testing.T, at netip.AddrPort) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second}
	for _, method := range []string{"firma.v1.AuthorityService/IssueCapability", "firma.v1.AuthorityService/WatchPolicyBundle",
		"firma.v1.AuthorityService/WatchRevocations", "firma.v1.AuditService/StreamEvents"} {
		for _, kind := range []string{"application/json", "application/connect+json", "application/grpc"} {
			for _, text := range []string{`{}`, `{"credentials":{"preSharedKey":"AAAA"}}`} {
				body := []byte(text)
				if kind != "application/json" {
					body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
				}
				resp, err := client.Post("http://"+at.String()+"/"+method, kind, bytes.NewReader(body))
				if err != nil {
					continue // refused before HTTP
				}
				answer, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
				_ = resp.Body.Close()
				if strings.Contains(string(answer), "v4.public.") || strings.Contains(string(answer), "permit") && !strings.Contains(string(answer), "permission_denied") {
					t.Errorf("ESCAPED     %s answers a stranger: %s %.200q", method, resp.Status, answer)
				}
			}
		}
	}
}

// TestI9SidecarKilled ends the Sidecar with SIGKILL in the middle of a run: the
// agent must have no network from then on, and the run must end and say why.
func TestI9SidecarKilled(t *testing.T) {
	if *wall != "firma" {
		t.Skip("nothing to kill without a run")
	}
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			get := []string{"http", proxy, "GET", "http://allowed.test/"}
			l := y.hold(t, kase{flags: withConfig}, get, []string{"hold"}, get, []string{"hold"})
			if r := l.goOn(t); r.Result != "succeeded" {
				t.Fatalf("INVALID     the network does not work before: %+v", r)
			}
			l.Line() // ready again
			sidecar := l.family.Find("sidecar")
			if len(sidecar) != 1 {
				t.Fatalf("INVALID     which one is the Sidecar? %v", l.family.Members)
			}
			y.origin.Reset()
			must(t, syscall.Kill(sidecar[0].PID, syscall.SIGKILL))
			l.Send("")
			o := l.Wait(t)
			if strings.Contains(o.Stdout, `"succeeded"`) || len(y.origin.Requests("")) != 0 {
				t.Errorf("ESCAPED     the agent went on: %s", o.Stdout)
			}
			if o.Code != 125 || !strings.Contains(o.Stderr, "Sidecar") {
				t.Errorf("the run ended with %d and said %q; want 125 and the Sidecar named", o.Code, o.Stderr)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			left, err := l.family.Survivors(ctx)
			must(t, err)
			if len(left) != 0 {
				t.Errorf("ESCAPED     still running: %v", left)
			}
		})
	}
}
