package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/world"
)

// TestExitCodes: the agent's status is firma's, whatever it is, also where it looks
// like one of firma's own.
func TestExitCodes(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, code := range []int{0, 1, 2, 3, 42, 99, 124, 125, 126, 127, 128, 129, 137, 200, 255} {
			r := s.run(t, sh(fmt.Sprintf("exit %d", code)))
			if r.code != code || r.err != "" {
				t.Errorf("exit %d became %d; stderr: %s", code, r.code, r.err)
			}
		}
		for _, sig := range []int{1, 2, 3, 4, 6, 8, 9, 10, 11, 13, 14, 15, 24, 31, 34, 64} {
			r := s.run(t, play{command: []string{"python3", "-c", fmt.Sprintf(
				"import os, signal\nif %d not in (9,): signal.signal(%d, signal.SIG_DFL)\nos.kill(os.getpid(), %d)", sig, sig, sig)}, flags: []string{"--quiet"}})
			if r.code != 128+sig || r.err != "" {
				t.Errorf("signal %d became %d; stderr: %s", sig, r.code, r.err)
			}
		}
	})
}

// TestOwnExitCodes: 125 when firma failed, 126 for a command that can't be executed,
// 127 for one that is not there; each with its name and never with a word of the
// agent's.
func TestOwnExitCodes(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.write(t, "plain", "text", 0o644)
		s.write(t, "orphan", "#!/no/such/interpreter\n", 0o755)
		s.write(t, "foreign", "\x7fELF\x02\x01\x01nothing of use", 0o755)
		for _, c := range []struct {
			name  string
			p     play
			code  int
			fault string
		}{
			{"not on PATH", run("no-such-command"), 127, "CommandNotFound"},
			{"no such path", run("./no-such-command"), 127, "CommandNotFound"},
			{"the host's, not shown", run(filepath.Join(s.Base, "bin", "firma")), 127, "CommandNotFound"},
			{"no interpreter", run("./orphan"), 127, "CommandNotFound"},
			{"not executable", run("./plain"), 126, "CommandNotExecutable"},
			{"a directory", run("/usr/bin"), 126, "CommandNotExecutable"},
			{"no program", run("./foreign"), 126, "CommandNotExecutable"},
			{"no command", run(), 125, "MissingCommand"},
			{"no such profile", play{command: []string{"true"}, flags: []string{"--profile", "nope"}}, 125, "UnknownProfile"},
			{"no such flag", play{command: []string{"true"}, flags: []string{"--nope"}}, 125, "--nope"},
			{"no Authority and nobody to ask", play{command: []string{"true"}, bare: true}, 125, "AuthorityPromptNoTty"},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := s.run(t, c.p).wantCode(t, c.code)
				if r.out != "" || !strings.Contains(r.err, c.fault) {
					t.Errorf("want %s:\n%s", c.fault, r)
				}
			})
		}
	})
}

// TestStreams: bytes pass unchanged, both outputs stay apart, and ends are passed on.
func TestStreams(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		random := make([]byte, 3<<20)
		_, _ = rand.Read(random)
		t.Run("stdin to stdout", func(t *testing.T) {
			p := sh("cat")
			p.stdin = bytes.NewReader(random)
			if r := s.run(t, p).wantCode(t, 0); r.out != string(random) {
				t.Errorf("%d bytes came back, not the %d sent", len(r.out), len(random))
			}
		})
		t.Run("stdout and stderr", func(t *testing.T) {
			path := s.write(t, "random", string(random), 0o644)
			r := s.run(t, sh("cat "+path+" & tac "+path+" >&2; wait")).wantCode(t, 0)
			if r.out != string(random) || len(r.err) != len(random) || r.err == r.out {
				t.Errorf("%d and %d bytes, want %d each", len(r.out), len(r.err), len(random))
			}
		})
		t.Run("30 MB of stdin", func(t *testing.T) {
			data := bytes.Repeat(random, 10)
			p := sh("sha256sum | cut -c1-64")
			p.stdin = bytes.NewReader(data)
			sum := sha256.Sum256(data)
			if r := s.run(t, p).wantCode(t, 0); r.out != hex.EncodeToString(sum[:])+"\n" {
				t.Errorf("another text arrived: %s", r)
			}
		})
		t.Run("unread and endless stdin", func(t *testing.T) {
			zero, err := os.Open("/dev/zero")
			must(t, err)
			defer zero.Close()
			p := sh("exit 3")
			p.stdin = zero
			s.run(t, p).wantCode(t, 3)
		})
		t.Run("stdin that never ends", func(t *testing.T) {
			r, w, err := os.Pipe()
			must(t, err)
			defer r.Close()
			defer w.Close()
			p := sh("exit 4")
			p.stdin = r
			s.run(t, p).wantCode(t, 4)
		})
		t.Run("a child that keeps stdout", func(t *testing.T) {
			if r := s.run(t, sh("sleep 86400 & echo over")).wantCode(t, 0); r.out != "over\n" {
				t.Errorf("the agent said %s", r)
			}
		})
	})
}

// redirections are made by the caller's shell; "run" is firma run.
var redirections = []struct{ name, script, out string }{
	{"stdin from a file", `echo from a file >in; run cat <in`, "from a file\n"},
	{"stdin from /dev/null", `run cat </dev/null; echo $?`, "0\n"},
	{"stdin closed", `run cat <&-; echo $?`, "0\n"},
	{"stdout to a file", `run echo to a file >out; cat out`, "to a file\n"},
	{"stdout appended", `echo one >out; run echo two >>out; cat out`, "one\ntwo\n"},
	{"stderr to a file", `run sh -c 'echo to stderr >&2' 2>out; cat out`, "to stderr\n"},
	{"both to one file", `run sh -c 'echo a; echo b >&2' >out 2>&1; sort out`, "a\nb\n"},
	{"stdout closed", `run sh -c 'echo x; exit 5' >&-; echo $?`, "5\n"},
	{"stdout and stderr closed", `run true >&- 2>&-; echo $?`, "0\n"},
	{"all closed", `run true <&- >&- 2>&-; echo $?`, "0\n"},
	{"stdout to /dev/full", `run sh -c 'echo x; exit 6' >/dev/full; echo $?`, "6\n"},
	{"a reader that leaves", `run yes | head -1; echo ${PIPESTATUS[0]}`, "y\n141\n"},
	{"a pipe between two", `run echo hello | run tr a-z A-Z`, "HELLO\n"},
	{"no controlling terminal", `setsid -w "$F" run --authority local --config "$C" --quiet -- echo here`, "here\n"},
	{"more descriptors", `run ls -m /proc/self/fd 3</etc/hostname 9<>/dev/null`, "0, 1, 2, 3\n"}, // 3 is the directory
	// The lower 28 signals: make leaves libc's internal ones (32, 33) ignored.
	{"no ignored signals", `run grep SigIgn /proc/self/status | grep -o '.......$'`, "0000000\n"},
	{"the caller's ignored signals", `trap '' INT HUP; run grep SigIgn /proc/self/status | grep -o '.......$'`, "0000003\n"},
	{"arguments", `run printf '[%s]' 'a b' '' '--' '*' $'new\nline' 'ü'`, "[a b][][--][*][new\nline][ü]"},
}

// TestRedirections: firma run stands in a shell's pipes and redirections like any
// command.
func TestRedirections(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, c := range redirections {
			t.Run(c.name, func(t *testing.T) {
				if o := s.shell(t, c.script); o.Stdout != c.out {
					t.Errorf("got %q, want %q; stderr: %s", o.Stdout, c.out, o.Stderr)
				}
			})
		}
	})
}

// TestNohup: a signal that the caller ignores is not passed on, as it would not reach
// the command directly.
func TestNohup(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		o := s.shell(t, `mkfifo out; trap '' HUP
			"$F" run --authority local --config "$C" --quiet -- sh -c 'echo ready; exec sleep 86400' >out & p=$!
			read x <out; kill -HUP $p; kill -TERM $p; wait $p; echo $?`)
		if o.Stdout != "143\n" {
			t.Errorf("status %q, want 143 of SIGTERM; stderr: %s", o.Stdout, o.Stderr)
		}
	})
}

// shell runs a script of the caller's, in which "run" is firma run.
func (s *stage) shell(t *testing.T, script string) world.Outcome {
	t.Helper()
	dir := s.fresh(t, "state")
	return s.Run(t, world.Command{
		Args: []string{"/bin/bash", "-c", `cd "$D"; run() { "$F" run --authority local --config "$C" --quiet -- "$@"; }` + "\n" + script},
		Env:  []string{"F=" + s.Firma, "C=" + s.config, "D=" + s.fresh(t, "dir"), "FIRMA_STATE_DIR=" + dir},
	})
}
