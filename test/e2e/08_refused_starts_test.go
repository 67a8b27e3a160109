package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/canary"
	"firma/internal/testkit/world"
)

// tempt is a command that leaves traces where it may: a file in the workspace, a
// request at the origin.
func tempt() play {
	return play{command: []string{"bash", "-c", "touch ran; curl -sS -o /dev/null http://plain.test/ran"}, flags: []string{"--profile", "codex"}}
}

// traces says whether the command of tempt was run.
func (s *stage) traces() bool {
	_, err := os.Lstat(filepath.Join(s.Project, "ran"))
	return err == nil || len(s.origin.Records()) > 0
}

// wantRefused plays p, which must end with 125 and the named error and its fix, and
// nothing launched.
func (s *stage) wantRefused(t *testing.T, p play, fault string, says ...string) *result {
	t.Helper()
	s.origin.Reset()
	return s.start(t, p).wantRefused(s, fault, says...)
}

func (f *performance) wantRefused(s *stage, fault string, says ...string) *result {
	f.t.Helper()
	r := f.end().wantCode(f.t, 125)
	if !strings.Contains(r.err, "firma: error: "+fault) || !strings.Contains(r.err, "firma: fix: ") {
		f.t.Errorf("want %s with a fix:\n%s", fault, r.err)
	}
	for _, text := range says {
		if !strings.Contains(r.err, text) {
			f.t.Errorf("does not say %q:\n%s", text, r.err)
		}
	}
	if r.out != "" || s.traces() {
		f.t.Errorf("the command was run: %s", r)
	}
	if procs := s.census(f.t).Processes; len(procs) != 0 {
		f.t.Errorf("still there: %+v", procs)
	}
	return r
}

// TestTheTemptationWorks is the control of this story: where nothing is wrong, the
// command leaves its traces.
func TestTheTemptationWorks(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.run(t, tempt()).wantCode(t, 0)
		if _, err := os.Lstat(filepath.Join(s.Project, "ran")); err != nil || len(s.origin.Requests("plain.test")) != 1 {
			t.Errorf("INVALID: no traces: %v, %v", err, s.origin.Records())
		}
	})
}

// script makes an executable "bwrap" in a directory of its own, and returns the
// variable that puts it in front of PATH.
func (s *stage) fakeBwrap(t *testing.T, text string) []string {
	t.Helper()
	dir := s.fresh(t, "path")
	path := filepath.Join(dir, "bwrap")
	must(t, errors.Join(os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755), os.Chmod(path, 0o755), os.Chmod(dir, 0o755)))
	return []string{"PATH=" + dir + ":/usr/local/bin:/usr/bin:/bin"}
}

// TestBackendUnusable: without a bwrap that can do the job there is no launch, and
// the reason comes with the way out that the guide gives.
func TestBackendUnusable(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		t.Run("missing", func(t *testing.T) {
			p := tempt()
			p.env = []string{"PATH=" + s.fresh(t, "path")}
			s.wantRefused(t, p, "UnsupportedBackend", "apt-get install bubblewrap")
		})
		t.Run("setuid", func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("needs root to make a setuid copy")
			}
			dir := s.fresh(t, "path")
			world.CopyProgram(t, "/usr/bin/bwrap", filepath.Join(dir, "bwrap"))
			must(t, errors.Join(os.Chmod(filepath.Join(dir, "bwrap"), os.ModeSetuid|0o755), os.Chmod(dir, 0o755)))
			p := tempt()
			p.env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
			s.wantRefused(t, p, "UnsupportedBackend", "setuid", "chmod u-s")
		})
		for _, c := range []struct {
			name, message, fault string
			fix                  []string
		}{
			{"user namespaces disabled", "bwrap: setting up uid map: Permission denied", "UserNamespacesUnavailable",
				[]string{"kernel.unprivileged_userns_clone=1", "--backend"}},
			{"namespaces refused", "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.",
				"UserNamespacesUnavailable", []string{"kernel.unprivileged_userns_clone=1"}},
			{"AppArmor", "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "AppArmorRestrictsUserNamespaces",
				[]string{"/etc/apparmor.d/bwrap", "abi <abi/4.0>,", "include <tunables/global>", "profile bwrap /usr/bin/bwrap flags=(unconfined) {",
					"userns,", "include if exists <local/bwrap>", "apparmor_parser -r /etc/apparmor.d/bwrap", "kernel.apparmor_restrict_unprivileged_userns=0"}},
			{"too old", "bwrap: Unknown option --clearenv", "UnsupportedBackend", []string{"bubblewrap 0.8"}},
			{"something else", "bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "SandboxSetupFailed", nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := tempt()
				p.env = s.fakeBwrap(t, "echo \""+c.message+"\" >&2\nexit 1\n")
				s.wantRefused(t, p, c.fault, append(c.fix, c.message)...)
			})
		}
		t.Run("silent", func(t *testing.T) {
			p := tempt()
			p.env = s.fakeBwrap(t, "exit 0\n")
			s.wantRefused(t, p, "SandboxSetupFailed")
		})
		t.Run("hangs", func(t *testing.T) {
			p := tempt()
			p.env = s.fakeBwrap(t, "exec sleep 86400 # "+s.Base)
			p.flags = append(p.flags, "--sidecar-startup-timeout-secs", "1")
			s.wantRefused(t, p, "StartupTimeout", "--sidecar-startup-timeout-secs")
		})
		t.Run("no namespaces left", func(t *testing.T) {
			// In a user namespace of the test's own, so that nobody else is concerned. As
			// its root, which may make no device nodes, firma does not get that far.
			fault := "UserNamespacesUnavailable"
			if !s.Account.Ordinary() {
				fault = "SandboxSetupFailed"
			}
			cmd := exec.Command("unshare", "-U", "--map-current-user", "--keep-caps", "sh", "-c",
				"echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --ambient-caps -all --inh-caps -all \"$@\"", "sh",
				s.Firma, "run", "--authority", "local", "--config", s.config, "--", "true")
			cmd.Env, cmd.Dir = append(s.Env, "FIRMA_STATE_DIR="+s.fresh(t, "state")), s.Project
			s.Account.Apply(cmd)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 125 || !strings.Contains(string(out), "firma: error: "+fault+":") {
				t.Errorf("want 125 and %s: %v\n%s", fault, err, out)
			}
		})
	})
}

// TestConfigurationUnusable: a mistake anywhere in the configuration is named with its
// place, and there is no launch.
func TestConfigurationUnusable(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		with := func(path string) play {
			p := tempt()
			p.config = path
			return p
		}
		file := func(name, text string) string {
			path := filepath.Join(s.fresh(t, "config"), name)
			must(t, os.WriteFile(path, []byte(text), 0o644))
			return path
		}
		t.Run("unknown key", func(t *testing.T) {
			path := file("firma.toml", "[sidecar.mapping]\ndefault_protectet = true\n")
			s.wantRefused(t, with(path), "ConfigValidation", path+":2:1", "default_protectet", "default_protected?")
		})
		t.Run("not TOML", func(t *testing.T) {
			path := file("firma.toml", "[sidecar\n")
			s.wantRefused(t, with(path), "ConfigParse", path+":1:")
		})
		t.Run("no such file", func(t *testing.T) {
			s.wantRefused(t, with("/no/such/firma.toml"), "ConfigParse", "/no/such/firma.toml")
		})
		t.Run("wrong value", func(t *testing.T) {
			path := file("firma.toml", "[sidecar.audit]\nmode = \"lenient\"\n")
			s.wantRefused(t, with(path), "ConfigValidation", "sidecar.audit.mode")
		})
		t.Run("no rules file", func(t *testing.T) {
			path := file("firma.toml", "[sidecar.mapping]\nrules_path = \"none.toml\"\n")
			s.wantRefused(t, with(path), "ConfigValidation", "none.toml")
		})
		t.Run("wrong rules", func(t *testing.T) {
			path := s.configure(t, settings{rules: "\n[[rules]]\nhost = \"x.test\"\naction_class = \"code.raed\"\n"})
			s.wantRefused(t, with(path), "NonExistingActionClass", fmt.Sprintf("rules.toml:%d:1", strings.Count(rules, "\n")+4), "code.raed", "code.read")
		})
		t.Run("a rule twice", func(t *testing.T) {
			path := s.configure(t, settings{rules: rule("x.test", "code.read") + rule("x.test", "code.write")})
			s.wantRefused(t, with(path), "DuplicateRule", fmt.Sprintf("rules.toml:%d:", strings.Count(rules, "\n")+6), fmt.Sprintf("rules.toml:%d", strings.Count(rules, "\n")+2))
		})
		t.Run("wrong policy", func(t *testing.T) {
			dir := s.fresh(t, "policy")
			must(t, os.WriteFile(filepath.Join(dir, "a.cedar"), []byte("permit (principal, action, resource)\nwhen { context.no_such };\n"), 0o644))
			must(t, os.Chmod(dir, 0o755))
			path := s.configure(t, settings{more: "[authority]\npolicy_dir = \"" + dir + "\"\n"})
			s.wantRefused(t, with(path), "PolicyInvalid", "no_such")
		})
		t.Run("no policy", func(t *testing.T) {
			dir := s.fresh(t, "policy")
			path := s.configure(t, settings{more: "[authority]\npolicy_dir = \"" + dir + "\"\n"})
			s.wantRefused(t, with(path), "ConfigValidation", dir)
		})
		t.Run("planted in the project", func(t *testing.T) {
			dir := filepath.Join(s.Project, "sub")
			must(t, canary.Plant(s.Project, map[string]string{"sub/.firma/firma.toml": "[sidecar.mapping]\ndefault_protected = false\n", "sub/deep/x": ""}))
			must(t, s.Account.OwnTree(s.Project))
			p := tempt()
			p.bare, p.flags, p.dir = true, append(p.flags, "--authority", "local"), filepath.Join(dir, "deep")
			s.wantRefused(t, p, "ConfigNotTrusted", filepath.Join(dir, ".firma", "firma.toml"))
		})
	})
}

// TestStateUnusable: without a safe place for keys and logs nothing is launched.
func TestStateUnusable(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		in := func(state string) play {
			p := tempt()
			p.state = state
			return p
		}
		t.Run("not a directory", func(t *testing.T) {
			s.wantRefused(t, in(filepath.Join(s.config, "state")), "StateDirNotWritable", "--state-dir")
		})
		t.Run("of somebody else", func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("needs root to make one")
			}
			dir := s.fresh(t, "state")
			must(t, os.Chown(dir, 12345, 12345))
			s.wantRefused(t, in(dir), "StateDirInsecure", "12345")
		})
		for _, k := range []struct {
			name string
			harm func(key string) error
			says string
		}{
			{"key that others can read", func(key string) error { return os.Chmod(key, 0o644) }, "AuditKeyUnsafe"},
			{"key behind a link", func(key string) error { return errors.Join(os.Rename(key, key+"2"), os.Symlink(key+"2", key)) }, "AuditKeyUnsafe"},
			{"key that is a directory", func(key string) error { return errors.Join(os.Remove(key), os.Mkdir(key, 0o700)) }, "AuditKeyUnsafe"},
			{"key that is none", func(key string) error { return os.WriteFile(key, []byte("garbage\n"), 0o600) }, "AuditKeyInvalid"},
			{"empty key", func(key string) error { return os.Truncate(key, 0) }, "AuditKeyInvalid"},
		} {
			t.Run(k.name, func(t *testing.T) {
				first := s.run(t, sh("true")).wantCode(t, 0)
				key := filepath.Join(first.state, "keys", "audit.key")
				must(t, k.harm(key))
				must(t, s.Account.OwnTree(filepath.Dir(key)))
				s.wantRefused(t, in(first.state), k.says, key)
			})
		}
	})
}

// TestPartsLostAtStart: a part that dies or hangs while the run starts ends it.
func TestPartsLostAtStart(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, c := range []struct {
			name  string
			part  string
			sig   syscall.Signal
			fault string
		}{
			{"Authority killed", "firma authority ", syscall.SIGKILL, "AuthorityLost"},
			{"Sidecar killed", "firma sidecar ", syscall.SIGKILL, "SidecarLost"},
			{"Sidecar stopped", "firma sidecar ", syscall.SIGSTOP, "StartupTimeout"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.origin.Reset()
				p := tempt()
				p.env = s.gatedBwrap(t)
				p.flags = append(p.flags, "--sidecar-startup-timeout-secs", "3")
				f := s.start(t, p)
				pid := f.part(c.part)
				must(t, syscall.Kill(pid, c.sig))
				if c.sig == syscall.SIGKILL {
					poll(t, "it is gone", func() bool { return !strings.HasPrefix(cmdline(pid), c.part) })
				}
				s.openGate(t, p.env)
				f.wantRefused(s, c.fault)
			})
		}
		t.Run("interrupted", func(t *testing.T) {
			s.origin.Reset()
			p := tempt()
			p.env = s.fakeBwrap(t, "exec sleep 86400 # "+s.Base)
			f := s.start(t, p)
			f.part("firma sidecar ")
			f.signal(syscall.SIGINT)
			r := f.end()
			if r.code != 125 || !strings.Contains(r.err, "Interrupted") || s.traces() {
				t.Errorf("status %d, traces %v\n%s", r.code, s.traces(), r)
			}
			s.wantGone(t)
		})
	})
}

// TestSlowStart: a start that takes more than a second says what it waits for.
func TestSlowStart(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for quiet, flags := range map[string][]string{"": nil, "quiet": {"--quiet"}} {
			p := run("echo", "started")
			p.env, p.flags = s.gatedBwrap(t), flags
			f := s.start(t, p)
			if quiet == "" && f.err.Wait(0, "firma: ") < 0 {
				t.Fatalf("nothing is said: %s", f.said())
			}
			s.openGate(t, p.env)
			if r := f.end().wantCode(t, 0); r.out != "started\n" || quiet != "" && r.err != "" {
				t.Errorf("%s", r)
			}
		}
	})
}

// gatedBwrap is a bwrap in front of PATH that waits until openGate.
func (s *stage) gatedBwrap(t *testing.T) []string {
	t.Helper()
	gate := filepath.Join(s.fresh(t, "gate"), "open")
	return append(s.fakeBwrap(t, "until [ -e "+gate+" ]; do sleep 0.02; done\nexec /usr/bin/bwrap \"$@\"\n"), "GATE="+gate)
}

func (s *stage) openGate(t *testing.T, env []string) {
	t.Helper()
	gate := strings.TrimPrefix(env[len(env)-1], "GATE=")
	must(t, os.WriteFile(gate, nil, 0o644))
}

// part waits for a child of firma run and returns its pid.
func (f *performance) part(prefix string) (pid int) {
	f.t.Helper()
	poll(f.t, prefix+"starts", func() bool {
		for _, c := range childrenOf(f.cmd.Process.Pid) {
			if strings.HasPrefix(cmdline(c), prefix) {
				pid = c
			}
		}
		return pid != 0
	})
	return pid
}

// TestUnreachable: components that somebody else runs are not replaced when they do
// not answer.
func TestUnreachable(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, c := range []struct {
			flags []string
			fault string
		}{
			{[]string{"--authority", "http://[::1]:1"}, "Authority"},
			{[]string{"--authority", "local", "--sidecar", "tcp://127.0.0.1:1"}, "SidecarUnreachable"},
			{[]string{"--no-autostart"}, "MissingAuthority"},
			{[]string{"--authority", "local", "--no-autostart"}, "AuthorityLocalNoAutostart"},
			{[]string{"--authority", "local", "--authority-profile", "nope"}, "AuthorityUnknownProfile"},
		} {
			t.Run(strings.Join(c.flags, " "), func(t *testing.T) {
				p := tempt()
				p.bare, p.flags = true, append(p.flags, c.flags...)
				r := s.start(t, p).end().wantCode(t, 125)
				if !strings.Contains(r.err, "firma: error: "+c.fault) || s.traces() {
					t.Errorf("want %s: %s", c.fault, r)
				}
			})
		}
	})
}

// smallDisk is a state directory with room for little.
func (s *stage) smallDisk(t *testing.T) (state string, r *room) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	state, r = s.fresh(t, "state"), s.newRoom(t)
	cmd := exec.Command("nsenter", "-m", "-t", strconv.Itoa(r.holder.Process.Pid), "mount", "-t", "tmpfs",
		"-o", fmt.Sprintf("size=256k,mode=700,uid=%d,gid=%d", s.Account.UID, s.Account.GID), "disk", state)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	return state, r
}

// fill leaves no space on the disk that holds dir of the room.
func (r *room) fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(r.path(dir), "filler"))
	must(t, err)
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull: what can't be recorded does not happen.
func TestDiskFull(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		t.Run("before the start", func(t *testing.T) {
			state, r := s.smallDisk(t)
			p := tempt()
			p.command, p.state, p.room = []string{"true"}, state, r
			s.run(t, p).wantCode(t, 0) // the control, and the key
			r.fill(t, state)
			p = tempt()
			p.state, p.room = state, r
			s.wantRefused(t, p, "AuditUnavailable", "space")
		})
		t.Run("before the first start", func(t *testing.T) {
			state, r := s.smallDisk(t)
			r.fill(t, state)
			p := tempt()
			p.state, p.room = state, r
			s.wantRefused(t, p, "", "no space left")
		})
		t.Run("meanwhile", s.diskFullMeanwhile)
	})
}

func (s *stage) diskFullMeanwhile(t *testing.T) {
	s.origin.Reset()
	state, r := s.smallDisk(t)
	gate, open, err := os.Pipe()
	must(t, err)
	defer gate.Close()
	p := run("bash", "-c", `get() { curl -sS -o /tmp/body -w '%{http_code} ' http://plain.test/$1; }
		get 0; echo first; read x
		for i in $(seq 40); do get $i; done; cat /tmp/body; get last`)
	p.state, p.room, p.stdin = state, r, gate
	f := s.start(t, p)
	f.until("first")
	r.fill(t, state)
	open.Close()
	got := f.end()
	if !strings.HasSuffix(got.out, " 403 ") && !strings.HasSuffix(got.out, "\n403 ") || !strings.Contains(got.out, `"reason":"AuditUnavailable"`) {
		t.Errorf("the agent saw %s", got)
	}
	if answered := strings.Count(got.out, "200 "); answered != len(s.origin.Requests("plain.test")) {
		t.Errorf("%d answers for %d requests that arrived", answered, len(s.origin.Requests("plain.test")))
	}
	events := readLog(t, onlyLog(t, r.path(state)))
	for _, a := range s.origin.Requests("plain.test") {
		if len(find(events, allow("plain.test"+a.Path))) != 1 {
			t.Errorf("%s arrived and is not in the log%s", a.Path, told(events))
		}
	}
	if got.code != 125 || !strings.Contains(got.err, "AuditUnavailable") {
		t.Errorf("want 125 and AuditUnavailable: status %d\n%s", got.code, got.err)
	}
}
