package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"firma/internal/testkit/freeport"
	"firma/internal/testkit/world"
)

// shown is a command that a document shows, and what comes of it.
type shown struct {
	command string // as written, its lines joined
	code    int
	says    string // a regular expression that output and errors match
	not     string // why it is not run here
	until   string // it goes on until the command named by ends; this it says when it is ready
	ends    string
	before  func(d *desk, t *testing.T)
}

const guide = "docs/guides/firma-run.md"

const conversation = "needs the agent and its provider: TestAgents holds the conversation, for all of them by make test-agents"

// documents are the pages whose ```sh blocks people copy, each command in its order.
var documents = map[string][]shown{
	guide: {
		{command: "unshare --user --pid echo ok", says: `^ok\n$`},
		{command: "bwrap --unshare-net --bind / / true", says: `^$`},
		{command: "firma doctor", says: `(?m)^PASS +launch\.run`},
		{command: "examples/firma-run/local/setup.sh", says: `created .*/\.local/audit-key\.pem`},
		{command: "cat .local/firma.toml", says: `(?s)\[sidecar\.mapping\].*default_protected = false.*sink = "file"`},
		{command: "firma run --config .local/firma.toml --authority local --profile generic -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`, before: (*desk).reach},
		{command: "firma run --config .local/firma.toml --authority local --profile codex -- codex", says: `(?m)^the agent writes$`, before: (*desk).codex},
		{command: "firma audit verify --key .local/audit-key.pem.pub.pem .local/audit-sbx_*.jsonl", says: `sbx_`},
		{command: "firma run --authority local -- curl https://example.com", code: 56, says: `to allow it: firma run --allow example\.com`},
		{command: "firma run --authority local --allow example.com -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`},
		{command: "firma sidecar -c .local/firma.toml", until: "msg=ready"},
		{command: "firma run --sidecar tcp://127.0.0.1:8080 --profile generic -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`},
		{command: "firma sidecar start --detach --config .local/firma.toml", ends: "firma sidecar -c .local/firma.toml"},
		{command: "firma sidecar status --daemon", says: `(?m)^sidecar .*running`},
		{command: "firma sidecar stop"},
		{command: "firma run --no-autostart --sidecar unix:///run/firma/sidecar.sock -- make test", code: 125, says: `SidecarUnreachable: `},
		{command: "firma run -- curl https://example.com", code: 125, says: `AuthorityPromptNoTty: `},
		{command: "firma run --authority http://[::1]:50051 -- curl https://example.com", code: 125, says: `AuthorityUnreachable: `},
		{command: "firma authority -c .local/firma.toml issue --agent-id local-dev --session-id s --action communication.external.send --output x.toml", code: 1, says: `firma\.toml has no \[authority\] section.*\nfirma: fix: add a line \[authority\] to it`},
		{command: `printf '\n[authority]\n' >> .local/firma.toml`},
		{command: `firma authority -c .local/firma.toml issue --agent-id local-dev --session-id "$(cat /proc/sys/kernel/random/uuid)" --action communication.external.send --output .local/capability-local-dev.toml`, says: `(?s)grants communication\.external\.send on \*.*made a signing key`},
		{command: "firma run --config .local/firma.toml --profile generic --capability-file .local/capability-local-dev.toml -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`},
		{command: "firma run --profile generic --print-effective-config -- echo hi", says: `(?s)"backend": "bwrap".*"mounts"`},
		{command: "sysctl kernel.apparmor_restrict_unprivileged_userns", not: "only a kernel with that AppArmor feature has the setting; TestBackendUnusable and the doctor's tests play its error"},
		{command: "bwrap --unshare-net --bind / / true", says: `^$`},
		{command: "sudo apparmor_parser -r /etc/apparmor.d/bwrap", not: "changes the machine, and needs AppArmor; the profile's text is compared with firma's own"},
		{command: "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", not: "changes the machine"},
		{command: "firma run --print-effective-config -- true", says: `"problems"`},
		{command: "RUST_LOG=debug firma run --authority local -- true", says: `level=DEBUG`},
		{command: "firma --log-filter debug --log-file firma.log run --authority local -- true", says: `^\nfirma: no call left the sandbox`},
		{command: "firma run --authority local --allow example.com -- getent hosts example.com", says: `198\.1[89]\.|fd66:`},
	},
	"README.md": {
		{command: "make demo # installs bubblewrap if it is missing, builds, shows the main job", not: "builds firma anew and takes the machine's network; it is run by hand before a release"},
		{command: "make test # everything: unit, race, end to end, the escape suite", not: "this test is a part of it"},
		{command: "make build", not: "the program under test was built by it"},
		{command: "export PATH=$PWD/bin:$PATH"},
		{command: "cd ~/some/project", before: func(d *desk, t *testing.T) { d.home(t, "some/project/.curlrc", curlrc) }},
		{command: "firma run --authority local --allow example.com -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`},
		{command: "firma audit verify", says: `sbx_`},
	},
	"docs/guides/agents.md": {
		{command: "firma run --authority local --profile claude -- claude -p 'say hello'", not: conversation},
		{command: "firma run --authority local --profile my-codex -- codex exec 'say hello'", not: conversation},
		{command: "firma run --authority local --allow generativelanguage.googleapis.com --profile gemini -- gemini --skip-trust -p 'say hello'", not: conversation},
		{command: "firma run --authority local --profile opencode -- opencode run -m anthropic/claude-sonnet-4-5 'say hello'", not: conversation},
		{command: "firma run --authority local --profile qwen -- qwen --auth-type openai --openai-base-url https://api.openai.com/v1 -m gpt-5 -p 'say hello'", not: conversation},
		{command: "firma run --authority local --profile copilot -- copilot --allow-all-tools -p 'say hello'", not: conversation},
	},
	"docs/configuration.md": {
		{command: "firma trust . # or the file itself; --list, --remove", says: `Trusted: `, before: func(d *desk, t *testing.T) { d.home(t, "project/.firma/firma.toml", "[authority]\n") }},
	},
	"docs/doctor.md": {
		{command: "firma doctor", says: `(?m)^PASS +launch\.run`},
		{command: "firma doctor --json", says: `"exit_code": 0`},
	},
	"docs/seccomp.md": {
		{command: "firma seccomp show # what is refused, and whether the artifact would pass", says: `EPERM`},
		{command: "firma seccomp verify # as a launch verifies it; then an interpreter, then the kernel", code: 1, says: `SeccompArtifactMissing: .*\nfirma: fix: make it: .firma seccomp compile`},
		{command: "firma seccomp compile # make it, or make it anew", says: `^compiled `},
	},
	"docs/architecture/command-governance-local-exec-contract.md": {
		{command: `printf '/usr/bin/git\0push\0--force\0s-1\0sbx_1\0local-dev' | sha256sum`, says: `^[0-9a-f]{64} `},
	},
}

// elsewhere are pages whose commands another test runs.
var elsewhere = map[string]string{
	"docs/audit-format.md": "internal/audit TestDocs",
	"docs/trust.md":        "TestChromium",
}

// TestDocuments types what the documents show, page by page, and finds what they say.
func TestDocuments(t *testing.T) {
	root := repository(t)
	for page, want := range documents {
		got := commandsOf(t, filepath.Join(root, page))
		for i := range max(len(got), len(want)) {
			switch {
			case i >= len(want):
				t.Errorf("%s: nothing is known of %q", page, got[i])
			case i >= len(got):
				t.Errorf("%s does not show %q any more", page, want[i].command)
			case got[i] != want[i].command:
				t.Fatalf("%s shows %q, where %q is expected", page, got[i], want[i].command)
			}
		}
	}
	for page := range pages(t, root) {
		if documents[page] == nil && elsewhere[page] == "" && len(commandsOf(t, filepath.Join(root, page))) > 0 {
			t.Errorf("nobody runs the commands of %s", page)
		}
	}
	everyone(t, func(t *testing.T, s *stage) {
		for page, list := range documents {
			t.Run(page, func(t *testing.T) { newDesk(t, s).follow(list) })
		}
	})
}

var shellBlock = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

// commandsOf returns the commands of a page's sh blocks, white space made single.
func commandsOf(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var all []string
	for _, m := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(strings.ReplaceAll(m[1], "\\\n", " ")) {
			if line = strings.Join(strings.Fields(line), " "); line != "" {
				all = append(all, line)
			}
		}
	}
	return all
}

// pages are the Markdown files of the repository's root and of docs.
func pages(t *testing.T, root string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, p := range paths {
			name, err := filepath.Rel(root, p)
			must(t, err)
			found[name] = true
		}
	}
	return found
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	must(t, err)
	return root
}

// desk is where a reader sits: the repository's examples, a home, and example.com.
type desk struct {
	*stage
	t       *testing.T
	listen  string // in place of 127.0.0.1:8080, which may be taken
	env     []string
	prelude string // what was exported, and where the reader went
	running map[string]*world.Running
}

// curlrc is read where curl starts, by CURL_HOME.
const curlrc = "insecure\nsilent\nshow-error\n"

func newDesk(t *testing.T, s *stage) *desk {
	t.Helper()
	d := &desk{stage: newStage(t, s.Account), t: t, listen: freeAddress(t), running: map[string]*world.Running{}}
	must(t, os.CopyFS(filepath.Join(d.Project, "examples"), os.DirFS(filepath.Join(repository(t), "examples"))))
	d.home(t, "project/.curlrc", curlrc)
	d.home(t, ".config/firma/firma.toml", d.world())
	must(t, d.Account.OwnTree(d.Home))
	must(t, os.Chmod(filepath.Join(d.Project, "examples/firma-run/local/setup.sh"), 0o755))
	d.env = []string{"PATH=" + filepath.Dir(d.Firma) + ":" + filepath.Join(d.Home, ".cargo/bin") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"FIRMA_SIDECAR_HEALTH_BIND_ADDR=" + freeAddress(t)}
	return d
}

// world says where example.com is, and that curl need not know its certificate.
func (d *desk) world() string {
	return fmt.Sprintf("\n[sidecar.egress.hosts]\n\"example.com\" = %q\n\n[run.defaults]\nenv_set = { CURL_HOME = \".\" }\n", d.origin.TLSAddr().String())
}

// reach adds that to the example's configuration.
func (d *desk) reach(t *testing.T) {
	path := filepath.Join(d.Project, ".local/firma.toml")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(d.world() + "\n[sidecar.interceptor]\nlisten_addr = \"" + d.listen + "\"\n")
	must(t, errors.Join(err, f.Close()))
}

// codex is a coding agent for the while.
func (d *desk) codex(t *testing.T) {
	path := d.home(t, ".cargo/bin/codex", "#!/bin/sh\ntouch written && echo the agent writes\n")
	must(t, os.Chmod(path, 0o755))
}

// home writes a file of the account below its home.
func (d *desk) home(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(d.Home, name)
	must(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644), d.Account.OwnTree(d.Home)))
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Address()
	must(t, err)
	return addr
}

func (d *desk) follow(list []shown) {
	for _, c := range list {
		d.t.Logf("$ %s", c.command)
		if c.before != nil {
			if c.before(d, d.t); d.t.Failed() {
				return
			}
		}
		switch {
		case c.not != "":
		case strings.HasPrefix(c.command, "export ") || strings.HasPrefix(c.command, "cd "):
			d.prelude += c.command + "\n"
		case c.until != "":
			d.running[c.command] = d.begin(c)
		default:
			d.end(c.ends)
			d.try(c)
		}
	}
	for command := range d.running {
		d.end(command)
	}
}

func (d *desk) typed(command string) world.Command {
	text := strings.ReplaceAll(d.prelude+command, "127.0.0.1:8080", d.listen)
	return world.Command{Args: []string{"/bin/bash", "-c", text}, Env: d.env}
}

func (d *desk) try(c shown) {
	d.t.Helper()
	o := d.Run(d.t, d.typed(c.command))
	if o.Code != c.code || !regexp.MustCompile(c.says).MatchString(o.Stdout+o.Stderr) {
		d.t.Errorf("$ %s\nstatus %d, want %d and %q\nstdout: %s\nstderr: %s", c.command, o.Code, c.code, c.says, o.Stdout, o.Stderr)
	}
}

func (d *desk) begin(c shown) *world.Running {
	d.t.Helper()
	r := d.Start(d.t, d.typed("exec "+c.command))
	poll(d.t, c.command+" says "+c.until, func() bool { return strings.Contains(r.Stderr(), c.until) })
	return r
}

// end sends what ^C does to a command that goes on, which must end well.
func (d *desk) end(command string) {
	d.t.Helper()
	r := d.running[command]
	if r == nil {
		return
	}
	delete(d.running, command)
	must(d.t, r.Cmd.Process.Signal(os.Interrupt))
	if o := r.Wait(d.t); o.Code != 0 {
		d.t.Errorf("$ %s\nstatus %d after SIGINT\nstderr: %s", command, o.Code, o.Stderr)
	}
}
