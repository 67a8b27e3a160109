package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestThousandConnections: a thousand connections of one agent, open at the same
// time, are all answered, and each is in the log exactly once.
func TestThousandConnections(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.run(t, run("python3", "many.py", "1000", "http://plain.test/n/")).wantCode(t, 0)
		if r.out != "(200, 1000)\n" {
			t.Errorf("the agent saw %s", r)
		}
		asked, recorded, ended := map[string]int{}, map[string]int{}, map[string]int{}
		for _, a := range s.origin.Requests("plain.test") {
			asked[a.Path]++
		}
		for _, e := range r.events(t) {
			switch {
			case e.Kind == "request" && e.Outcome == "ALLOW":
				recorded[strings.TrimPrefix(e.Resource, "plain.test")]++
			case e.Kind == "dispatch" && e.DispatchStatus == 200:
				ended[strings.TrimPrefix(e.Resource, "plain.test")]++
			}
		}
		for i := range 1000 {
			p := "/n/" + strconv.Itoa(i)
			if asked[p] != 1 || recorded[p] != 1 || ended[p] != 1 {
				t.Errorf("%s arrived %d times; the log has %d decisions and %d ends", p, asked[p], recorded[p], ended[p])
			}
		}
		s.wantSealed(t, r)
	})
}

// TestManyTunnels: the same for tunnels that are all open at once.
func TestManyTunnels(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := run("python3", "many.py", "300", "http://tunnels.test/", "tunnels.test:443")
		p.config = s.configure(t, settings{hosts: map[string]string{"tunnels.test": s.origin.PlainAddr().String()}, rules: rule("tunnels.test", "code.read") +
			"\n[[rules]]\nmethod = \"CONNECT\"\nhost = \"tunnels.test\"\naction_class = \"code.read\"\ntunnel_accepts = [\"non_tls\"]\n"})
		r := s.run(t, p).wantCode(t, 0)
		if r.out != "(200, 300)\n" {
			t.Errorf("the agent saw %s", r)
		}
		wantRecorded(t, r.events(t), 300, pattern("tunnel", "ALLOW", "", "tunnels.test"))
		wantRecorded(t, r.events(t), 300, answered("tunnels.test", 200))
		if !strings.Contains(r.err, " 300×") {
			t.Errorf("the summary does not count them: %s", r.err)
		}
	})
}

// TestRunsAtOnce: twenty runs that share a state directory from its first use on
// disturb neither one another nor the log.
func TestRunsAtOnce(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh(t, "state")
		var runs []*performance
		for i := range 20 {
			p := sh(fmt.Sprintf("curl -sS -o /dev/null -w '%%{http_code}' http://plain.test/run/%d; exit %d", i, i))
			p.state = state
			runs = append(runs, s.start(t, p))
		}
		for i, f := range runs {
			if r := f.end().wantCode(t, i); r.out != "200" || r.err != "" {
				t.Errorf("run %d: %s", i, r)
			}
			wantArrived(t, s.origin, []arrival{{"GET /run/" + strconv.Itoa(i), 1}})
		}
		o := s.firma(t, state, "audit", "verify")
		if o.Code != 0 || strings.Count(o.Stdout, "OK ") != 20 {
			t.Errorf("audit verify: status %d\n%s%s", o.Code, o.Stdout, o.Stderr)
		}
		keys, err := os.ReadDir(filepath.Join(state, "keys"))
		must(t, err)
		for _, k := range keys {
			if n := k.Name(); n != "audit.key" && n != "audit.key.pub.pem" {
				t.Errorf("left in the key directory: %s", n)
			}
		}
	})
}
