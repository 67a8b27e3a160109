package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestExample is the guide's second step and its capabilities as one types them: "The
// setup script is idempotent", "You'll see default_protected = false and a file audit
// sink", "add an [authority] section to .local/firma.toml first".
func TestExample(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		d := newDesk(t, s)
		d.try(shown{command: "examples/firma-run/local/setup.sh", says: `(?s)created .*firma\.toml.*created .*mapping-rules\.toml.*created .*audit-key\.pem`})
		before := d.files(".local")
		d.try(shown{command: "examples/firma-run/local/setup.sh", says: `^(kept .*\n){3}`})
		if after := d.files(".local"); len(before) != 3 || !slices.Equal(before, after) {
			t.Errorf("the second time changed %q to %q", before, after)
		}
		d.try(shown{command: "cat .local/firma.toml", says: `(?s)\[sidecar\.mapping\].*\ndefault_protected = false\n.*\[sidecar\.audit\]\nsink = "file"\n`})
		d.try(shown{command: "grep -c '^\\[\\[rules' .local/mapping-rules.toml", says: `^1\n$`})
		d.reach(d.t)
		issue := "firma authority -c .local/firma.toml issue --agent-id local-dev --session-id \"$(cat /proc/sys/kernel/random/uuid)\"" +
			" --action communication.external.send --output .local/capability-local-dev.toml"
		d.try(shown{command: issue, code: 1, says: `ConfigValidation: .*/\.local/firma\.toml has no \[authority\] section.*\nfirma: fix: add a line \[authority\] to it`})
		d.try(shown{command: "printf '\\n[authority]\\n' >> .local/firma.toml"})
		d.try(shown{command: issue, says: `grants communication\.external\.send`})
		d.try(shown{command: "firma run --config .local/firma.toml --profile generic --capability-file .local/capability-local-dev.toml -- curl https://example.com", says: `(?m)^firma: allowed +example\.com`})
		if len(d.origin.Requests("")) != 1 {
			t.Errorf("arrived: %v", d.origin.Records())
		}
		d.try(shown{command: "firma run --config .local/firma.toml --capability-file .local/capability-local-dev.toml --quiet -- sh -c 'ls -A .local; cat .local/capability-local-dev.toml; true'", says: `^$|No such file|Permission denied`})
	})
}

// files are the names and contents below a directory of the project.
func (d *desk) files(dir string) []string {
	d.t.Helper()
	var all []string
	must(d.t, fs.WalkDir(os.DirFS(filepath.Join(d.Project, dir)), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(d.Project, dir, path))
		all = append(all, path+": "+string(text))
		return err
	}))
	return all
}

// codes asks plain.test and returns the agent's view: status and reason of each call.
func (s *stage) codes(t *testing.T, config string, flags []string, script string) []string {
	t.Helper()
	p := sh(`ask() { curl -sS -o /tmp/body -w '%{http_code}' "$@"; grep -o '"reason":"[A-Za-z]*"' /tmp/body | cut -d'"' -f4 | sed 's/^/ /' | tr -d '\n'; echo; }; ` + script)
	p.config, p.flags = config, append(p.flags, flags...)
	return s.lines(t, p)
}

// TestCapabilities: "the Sidecar must have a capability matching (session_id,
// action_class, resource)", from [sidecar.capability_seed] or --capability-file.
func TestCapabilities(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		issuer := s.configure(t, settings{more: "[authority]\n"})
		issue := func(scope string) string {
			path := filepath.Join(filepath.Dir(issuer), "capability-"+scope+".toml")
			if o := s.firma(t, s.State, "authority", "-c", issuer, "issue", "--agent-id", "local-dev", "--session-id", "s-1",
				"--action", "code.read", "--resource-scope", scope, "--output", path); o.Code != 0 {
				t.Fatal(o.Stderr)
			}
			return path
		}
		calls := "ask http://plain.test/x; ask -X POST http://plain.test/x"
		key := "[sidecar.authority]\npublic_key_path = \"" + strings.TrimSuffix(filepath.Join(filepath.Dir(issuer), "firma-authority.key"), ".key") + ".pub\"\n"
		covers, other := issue("plain.test"), issue("other.test")
		seeded := s.configure(t, settings{more: key + "[sidecar.capability_seed]\npaths = [\"" + covers + "\"]\n"})
		staged := s.configure(t, settings{more: key})
		for _, c := range []struct {
			name, config string
			flags        []string
			want         []string
		}{
			{"pre-staged: capability_seed", seeded, nil, []string{"200", "403 CapabilityNotFound"}},
			{"per run: --capability-file", staged, []string{"--capability-file", covers}, []string{"200", "403 CapabilityNotFound"}},
			{"another resource", staged, []string{"--capability-file", other}, []string{"403 CapabilityScopeMismatch", "403 CapabilityNotFound"}},
			{"granted by the Authority", staged, nil, []string{"200", "200"}},
		} {
			if got := s.codes(t, c.config, c.flags, calls); !slices.Equal(got, c.want) {
				t.Errorf("%s: the agent saw %q, want %q", c.name, got, c.want)
			}
		}
	})
}

// TestTightLoop: "Tight loops produce CapabilityScopeMismatch. If your policy gates on
// action_count, raise the threshold or scope the rule more narrowly."
func TestTightLoop(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		gated := func(limit, host string) string {
			dir := s.fresh(t, "policies")
			must(t, os.WriteFile(filepath.Join(dir, "all.cedar"), []byte("permit (principal, action, resource);\n"), 0o644))
			must(t, os.WriteFile(filepath.Join(dir, "budget.cedar"), []byte(`@id("budget") forbid (principal, action, resource) when { `+host+`context.action_count > `+limit+" };\n"), 0o644))
			must(t, s.Account.OwnTree(dir))
			return s.configure(t, settings{more: "[authority]\npolicy_dir = \"" + dir + "\"\n"})
		}
		loop := "for i in 1 2 3 4 5; do ask http://plain.test/$i; done"
		const yes, no = "200", "403 CapabilityScopeMismatch"
		for name, c := range map[string]struct {
			config string
			want   []string
		}{
			"gated":         {gated("3", ""), []string{yes, yes, yes, no, no}},
			"raised":        {gated("1000", ""), []string{yes, yes, yes, yes, yes}},
			"more narrowly": {gated("3", `resource has host && resource.host == "other.test" && `), []string{yes, yes, yes, yes, yes}},
		} {
			s.origin.Reset()
			if got := s.codes(t, c.config, nil, loop); !slices.Equal(got, c.want) {
				t.Errorf("%s: the agent saw %q, want %q", name, got, c.want)
			}
			if n := strings.Count(strings.Join(c.want, " "), yes); len(s.origin.Requests("")) != n {
				t.Errorf("%s: %d calls arrived, want %d", name, len(s.origin.Requests("")), n)
			}
		}
	})
}

// TestNamesThatDoNotResolve: "If your mapping rules don't cover the host, the stub
// returns NXDOMAIN. Add the host to the mapping (and a permitting rule to the policy)."
func TestNamesThatDoNotResolve(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		r := s.run(t, run("python3", "names.py", "unmapped.test")).wantCode(t, 0)
		if !strings.Contains(r.out, "unmapped.test NXDOMAIN") || !strings.Contains(r.err, "NameNotRoutable") || !strings.Contains(r.err, "firma run --allow unmapped.test") {
			t.Errorf("%s", r)
		}
		mapped := run("bash", "-c", "python3 names.py unmapped.test; curl -sS -o /dev/null -w '%{http_code}' http://unmapped.test/")
		mapped.config = s.configure(t, settings{rules: rule("unmapped.test", "code.read")})
		if r := s.run(t, mapped).wantCode(t, 0); !regexp.MustCompile(`^unmapped\.test 198\.1[89]\..*\n200$`).MatchString(r.out) {
			t.Errorf("%s", r)
		}
	})
}

// TestNothingFailsSilently: "firma run exits immediately with no output. Run with
// --print-effective-config to verify the config first."
func TestNothingFailsSilently(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, script := range []string{"exit 0\n", "exit 1\n", "kill -9 $$\n", "exec >&- 2>&-; exit 3\n"} {
			p := tempt()
			p.env = s.fakeBwrap(t, script)
			p.flags = append(p.flags, "--quiet")
			s.wantRefused(t, p, "")
			p.flags = append(p.flags, "--print-effective-config")
			if r := s.run(t, p); r.code != 0 || !strings.Contains(r.out, `"problems"`) {
				t.Errorf("%q: %s", script, r)
			}
		}
	})
}

// TestAppArmorProfileIsTheSame: the profile that the guide and the doctor's page show
// is the one that an error shows.
func TestAppArmorProfileIsTheSame(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := tempt()
		p.env = s.fakeBwrap(t, "echo 'bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted' >&2\nexit 1\n")
		said := s.wantRefused(t, p, "AppArmorRestrictsUserNamespaces").err
		profile := regexp.MustCompile(`(?s)abi <abi/4\.0>,.*?\n\s*\}`)
		words := func(text string) string { return strings.Join(strings.Fields(profile.FindString(text)), " ") }
		for _, page := range []string{guide, "docs/doctor.md"} {
			text, err := os.ReadFile(filepath.Join(repository(t), page))
			must(t, err)
			if words(said) == "" || words(string(text)) != words(said) {
				t.Errorf("%s shows\n%s\nthe error\n%s", page, words(string(text)), words(said))
			}
		}
	})
}

// TestSidecarOfTheRun: "With --sidecar local (also the default when no sidecar endpoint
// is configured), firma run always starts a per-run Sidecar … and tears it down on exit."
func TestSidecarOfTheRun(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		pids := map[int]bool{}
		for _, c := range []struct{ flags, env []string }{
			{nil, nil}, {[]string{"--sidecar", "local"}, []string{"FIRMA_SIDECAR_ENDPOINT=tcp://127.0.0.1:1"}},
		} {
			gate, open, err := os.Pipe()
			must(t, err)
			p := run("bash", "-c", "echo up; read x")
			p.stdin, p.flags, p.env = gate, c.flags, c.env
			f := s.start(t, p)
			f.until("up")
			pids[f.part("firma sidecar ")], pids[f.part("firma authority ")] = true, true
			must(t, open.Close())
			f.end()
			gate.Close()
		}
		if len(pids) != 4 {
			t.Errorf("two runs have %d Sidecars and Authorities", len(pids))
		}
		for pid := range pids {
			poll(t, fmt.Sprint(pid, " ends"), func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
		}
	})
}

// TestAuthorityOfTheRun: "a per-run Mini Authority is spawned with an ephemeral signing
// key and loopback listen address … killed on firma run exit".
func TestAuthorityOfTheRun(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := run("true")
		p.flags = []string{"--log-filter", "info"}
		r := s.run(t, p).wantCode(t, 0)
		m := regexp.MustCompile(`msg="authority listening".* addr=(\[::1\]:[0-9]+) `).FindStringSubmatch(r.err)
		if m == nil {
			t.Fatalf("the log does not say where it listens: %s", r.err)
		}
		if c, err := net.Dial("tcp", m[1]); err == nil {
			c.Close()
			t.Errorf("something still listens on %s", m[1])
		}
		must(t, filepath.WalkDir(r.state, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && strings.Contains(path, "authority") {
				t.Errorf("kept: %s", path)
			}
			return err
		}))
	})
}

// TestProfileOfARemoteAuthority: "--authority-profile … Ignored when the Authority is
// remote or already reachable".
func TestProfileOfARemoteAuthority(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		d := newDesk(t, s)
		at := freeAddress(t)
		d.home(t, "project/authority.toml", "[authority]\nlisten_addr = \""+at+"\"\n")
		d.home(t, "project/client.toml", "[sidecar.authority]\npublic_key_path = \"firma-authority.pub\"\n")
		serve := shown{command: "firma authority -c authority.toml", until: "authority listening"}
		d.running[serve.command] = d.begin(serve)
		d.try(shown{command: "firma run --config client.toml --authority http://" + at + " --authority-profile nope -- echo runs", says: `^runs\n`})
		d.end(serve.command)
		d.try(shown{command: "firma run --config client.toml --authority http://" + at + " -- echo runs", code: 125, says: `AuthorityUnreachable: `})
	})
}

// TestArguments: "Everything after -- is the command and its arguments."
func TestArguments(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		words := []string{"a", "b c", "--allow", "--", "-h", "", "$HOME", "*", "\"'"}
		if got := s.lines(t, run(append([]string{"printf", "%s\\n"}, words...)...)); !slices.Equal(got, words) {
			t.Errorf("%q", got)
		}
	})
}
