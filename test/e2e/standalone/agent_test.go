package standalone

import (
	"fmt"
	"strings"
	"testing"
)

// agent is a run whose agent asks for what the test tells it to.
type agent struct {
	*process
	said int // how much of its output has been read
}

// loop executes each line it reads, and says when it is done with it.
const loop = `echo "session $FIRMA_RUN_SESSION_ID"; while read -r line; do eval "$line"; echo " :$?:"; done`

// agent starts a run through a Sidecar and waits until its command runs. flags go
// before the command; env is on top of the world's.
func (s *stage) agent(d *side, env []string, flags ...string) *agent {
	s.t.Helper()
	args := append([]string{"run", "--config", s.Base + "/run.toml", "--sidecar", d.listen}, flags...)
	return s.agentOf(d.state, env, args...)
}

func (s *stage) agentOf(state string, env []string, args ...string) *agent {
	s.t.Helper()
	a := &agent{process: s.start(state, env, append(args, "--", "sh", "-c", loop)...)}
	if a.said = a.out.Wait(0, "session "); a.said < 0 {
		s.t.Fatalf("the agent did not start\n%s", a)
	}
	a.said = a.out.Wait(a.said, "\n")
	return a
}

// do executes a line of shell inside and returns what it wrote and its status.
func (a *agent) do(line string) (string, string) {
	a.t.Helper()
	fmt.Fprintln(a.in, line)
	from := a.said
	if a.said = a.out.Wait(from, " :"); a.said < 0 {
		a.t.Fatalf("no answer to %q\n%s", line, a)
	}
	end := a.out.Wait(a.said, ":\n")
	if end < 0 {
		a.t.Fatalf("no answer to %q\n%s", line, a)
	}
	text := a.out.String()
	out, code := text[from:a.said-2], text[a.said:end-2]
	a.said = end
	return out, code
}

// curl asks for a URL and returns "STATUS BODY".
func (a *agent) curl(url string, more ...string) string {
	a.t.Helper()
	out, _ := a.do("curl -sS -m 20 -w '|%{http_code}' " + strings.Join(more, " ") + " '" + url + "' 2>&1")
	body, code, _ := strings.Cut(strings.TrimSpace(out), "|")
	return code + " " + strings.TrimSpace(body)
}

// wantCurl fails unless the answer begins with want.
func (a *agent) wantCurl(t testing.TB, url, want string, more ...string) string {
	t.Helper()
	got := a.curl(url, more...)
	if !strings.HasPrefix(got, want) {
		t.Errorf("%s: %s, want %s", url, got, want)
	}
	return got
}

// leave ends the agent and returns firma's status.
func (a *agent) leave() int {
	a.t.Helper()
	_ = a.in.Close()
	return a.end()
}
