package escape

import (
	"strings"
	"testing"

	"firma/internal/testkit/world"
)

// H: policy and configuration.
var policyCases = []kase{
	{
		id: "H1", about: "configuration planted in the workspace", flags: codex,
		tries: func(y *yard) []attempt {
			return []attempt{try("hook", y.in(".firma/firma.toml")).limited("refused when it is read: see the next run")}
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			if *wall != "firma" {
				t.Fatal("ESCAPED     there is no wall")
			}
			r := y.firma(t, kase{}, y.probe, "fds")
			if r.Code != 125 || !strings.Contains(r.Stderr, "ConfigNotTrusted") {
				t.Errorf("ESCAPED     the next run obeyed it: exit status %d\n%s", r.Code, r.Stderr)
			}
		},
	},
	{
		id: "H3", about: "firma run inside firma run, with more allowed", flags: withConfig,
		prepare: func(t *testing.T, y *yard) { world.CopyProgram(t, y.Firma, y.in("firma")) },
		tries:   func(y *yard) []attempt { return []attempt{alive()} },
		check: func(t *testing.T, y *yard, _ *ran) {
			nested := func(conf string) []string {
				return []string{y.in("firma"), "run", "--authority", "local", "--quiet", "--config", conf, "--allow", "evil.test",
					"--", y.probe, "http", proxy, "GET", "http://evil.test/"}
			}
			o := y.World.Run(t, world.Command{Args: nested(y.config)})
			if o.Code != 0 || len(y.origin.Requests("evil.test")) == 0 {
				t.Fatalf("INVALID     the inner run does not reach evil.test outside: %d %s%s", o.Code, o.Stdout, o.Stderr)
			}
			conf := y.in("firma.toml")
			copyFile(t, y.config, conf)
			y.origin.Reset()
			r := y.firma(t, kase{flags: withConfig}, nested(conf)...)
			t.Logf("inside: exit status %d %s%s", r.Code, r.Stdout, r.Stderr)
			if len(y.origin.Requests("evil.test")) != 0 || strings.Contains(r.Stdout, "succeeded") {
				t.Error("ESCAPED     a nested run widened what is allowed")
			}
		},
	},
	{
		id: "H7", about: "variables that make programs run something else",
		env: poison,
		tries: func(y *yard) []attempt {
			return []attempt{try("scan-proc", "derutpac").noControl("a word of the poisoned variables, which nothing outside holds")}
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			r := y.firma(t, kase{env: poison}, "/usr/bin/env")
			for _, kv := range poison(y) {
				name, _, _ := strings.Cut(kv, "=")
				if strings.Contains("\n"+r.Stdout, "\n"+name+"=") {
					t.Errorf("ESCAPED     %s was passed in", name)
				}
			}
			if r.Code != 0 {
				t.Errorf("INVALID     env inside ended with %d: %s", r.Code, r.Stderr)
			}
		},
	},
}

// poison is what an earlier command may have left in the operator's shell.
func poison(*yard) []string {
	return []string{"PAGER=sh -c captured", "GIT_SSH_COMMAND=sh -c captured", "GIT_PAGER=captured", "BASH_ENV=/captured", "ENV=/captured",
		"NODE_OPTIONS=--title=captured", "PYTHONSTARTUP=/captured", "PERL5OPT=-Mcaptured", "RUBYOPT=-rcaptured", "JAVA_TOOL_OPTIONS=-Dcaptured=1",
		"GIT_EXTERNAL_DIFF=captured", "EDITOR=captured", "PROMPT_COMMAND=captured", "LD_AUDIT=", "GCONV_PATH=/captured", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=core.pager", "GIT_CONFIG_VALUE_0=captured", "HTTP_PROXY_USER=captured", "BASH_FUNC_ls%%=() { captured; }"}
}
