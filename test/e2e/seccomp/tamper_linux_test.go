package seccomp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

// bench is a world with a compiled artifact.
type bench struct {
	*world.World
	leaf   string // the artifact's directory
	filter []byte
}

func everyone(t *testing.T, story func(t *testing.T, b *bench)) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	for _, a := range all {
		t.Run(a.Name, func(t *testing.T) { story(t, newBench(t, a)) })
	}
}

func newBench(t *testing.T, a account.Account) *bench {
	t.Helper()
	b := &bench{World: world.New(t, a)}
	out := b.firma(t, nil, "seccomp", "compile")
	rest, ok := strings.CutPrefix(out.Stdout, "compiled ")
	if out.Code != 0 || !ok {
		t.Fatalf("compile: %+v", out)
	}
	b.leaf, _, _ = strings.Cut(rest, ": ")
	var err error
	b.filter, err = os.ReadFile(b.in("policy.bpf"))
	must(t, err)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) in(name string) string { return filepath.Join(b.leaf, name) }

func (b *bench) firma(t testing.TB, env []string, args ...string) world.Outcome {
	t.Helper()
	return b.Run(t, world.Command{Args: append([]string{b.Firma}, args...), Env: env})
}

// launch runs a command that says so if it is ever executed.
func (b *bench) launch(t testing.TB, env ...string) world.Outcome {
	t.Helper()
	return b.firma(t, env, "run", "--authority", "local", "--quiet", "--", "sh", "-c", "echo EXECUTED; unshare -U true && echo UNFILTERED")
}

// wantRefusal fails unless the launch was refused for this reason with nothing
// executed and nothing recorded as launched.
func (b *bench) wantRefusal(t *testing.T, o world.Outcome, fault, reason string) {
	t.Helper()
	if o.Code != 125 || strings.Contains(o.Stdout, "EXECUTED") {
		t.Fatalf("status %d, want 125 and nothing executed\nstdout: %s\nstderr: %s", o.Code, o.Stdout, o.Stderr)
	}
	if !strings.Contains(o.Stderr, "firma: error: "+fault+": ") || !strings.Contains(o.Stderr, reason) || !strings.Contains(o.Stderr, "firma: fix: ") {
		t.Errorf("want %s, %q and a fix\nstderr: %s", fault, reason, o.Stderr)
	}
	if logs, _ := filepath.Glob(filepath.Join(b.State, "firma", "audit", "*.jsonl")); len(logs) != 0 {
		t.Errorf("a run was recorded: %v", logs)
	}
}

// forge makes the artifact agree with itself again after its filter was changed.
func (b *bench) forge(t *testing.T, filter []byte) {
	t.Helper()
	sum := func(x []byte) []byte { h := sha256.Sum256(x); return []byte(hex.EncodeToString(h[:])) }
	meta, err := os.ReadFile(b.in("policy.metadata.json"))
	must(t, err)
	b.write(t, "policy.bpf", filter)
	b.write(t, "policy.metadata.json", bytes.Replace(meta, sum(b.filter), sum(filter), 1))
}

// write changes a file's content and nothing else of it.
func (b *bench) write(t *testing.T, name string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(b.in(name), os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = f.Write(data)
	must(t, errors.Join(err, f.Close()))
}

func (b *bench) key(t *testing.T, key string, value any) {
	t.Helper()
	data, err := os.ReadFile(b.in("policy.metadata.json"))
	must(t, err)
	var m map[string]any
	must(t, json.Unmarshal(data, &m))
	if m[key] = value; value == nil {
		delete(m, key)
	}
	data, _ = json.MarshalIndent(m, "", "  ")
	b.write(t, "policy.metadata.json", data)
}

// replace puts something else in the place of a name, and the original elsewhere.
func (b *bench) replace(t *testing.T, name string, by func(path, original string) error) {
	t.Helper()
	original := filepath.Join(b.Base, "original")
	must(t, os.Rename(b.in(name), original))
	must(t, by(b.in(name), original))
	must(t, b.Account.Own(b.in(name)))
}

func link(path, original string) error { return os.Symlink(original, path) }

// give gives a name to another account; only root can.
func (b *bench) give(t *testing.T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	must(t, os.Lchown(b.in(name), 54321, 54321))
}

var allowAll = []byte{0x06, 0, 0, 0, 0, 0, 0xff, 0x7f}

// headed begins with the check of the architecture and then allows everything.
func (b *bench) headed() []byte { return append(bytes.Clone(b.filter[:24]), allowAll...) }

// Two architectures as a filter compares them, AUDIT_ARCH_X86_64 and
// AUDIT_ARCH_AARCH64, this one's first.
var own, foreign = func() ([]byte, []byte) {
	x86, arm := []byte{0x3e, 0, 0, 0xc0}, []byte{0xb7, 0, 0, 0xc0}
	if runtime.GOARCH == "arm64" {
		return arm, x86
	}
	return x86, arm
}()

func TestTampering(t *testing.T) {
	for _, c := range []struct {
		name   string
		do     func(t *testing.T, b *bench)
		fault  string
		reason string
	}{
		{"one bit of the filter", func(t *testing.T, b *bench) {
			f := bytes.Clone(b.filter)
			f[len(f)/2] ^= 4
			b.write(t, "policy.bpf", f)
		}, "SeccompArtifactTampered", "policy.bpf: checksum"},
		{"filter cut", func(t *testing.T, b *bench) { b.write(t, "policy.bpf", b.filter[:40]) }, "SeccompArtifactTampered", "policy.bpf: checksum"},
		{"filter that allows everything, checksum and all", func(t *testing.T, b *bench) { b.forge(t, b.headed()) }, "SeccompArtifactTampered", "not what policy generic-local-command compiles to"},
		{"filter that the kernel refuses, checksum and all", func(t *testing.T, b *bench) { b.forge(t, []byte("nonsense")) }, "SeccompArtifactTampered", "can't be loaded"},
		{"filter missing", func(t *testing.T, b *bench) { must(t, os.Remove(b.in("policy.bpf"))) }, "SeccompArtifactMissing", "policy.bpf"},
		{"metadata missing", func(t *testing.T, b *bench) { must(t, os.Remove(b.in("policy.metadata.json"))) }, "SeccompArtifactMissing", "policy.metadata.json"},
		{"metadata is no JSON", func(t *testing.T, b *bench) { b.write(t, "policy.metadata.json", []byte("{}}")) }, "SeccompArtifactTampered", "not a JSON object"},
		{"checksum in the metadata", func(t *testing.T, b *bench) { b.key(t, "sha256", strings.Repeat("0", 64)) }, "SeccompArtifactTampered", "checksum"},
		{"key taken out", func(t *testing.T, b *bench) { b.key(t, "denied_syscalls", nil) }, "SeccompArtifactTampered", "metadata key denied_syscalls is missing"},
		{"key added", func(t *testing.T, b *bench) { b.key(t, "comment", "harmless") }, "SeccompArtifactTampered", `unknown metadata key "comment"`},
		{"denied calls", func(t *testing.T, b *bench) { b.key(t, "denied_syscalls", []string{"setuid"}) }, "SeccompArtifactTampered", "metadata key denied_syscalls"},
		{"another policy's", func(t *testing.T, b *bench) { b.key(t, "policy_id", "other") }, "SeccompArtifactTampered", "metadata key policy_id"},
		{"another architecture's", func(t *testing.T, b *bench) { b.key(t, "target_arch", "riscv64") }, "SeccompArtifactTampered", "metadata key target_arch"},
		{"another source's", func(t *testing.T, b *bench) { b.key(t, "source_policy_sha256", strings.Repeat("a", 64)) }, "SeccompArtifactStale", "metadata key source_policy_sha256"},
		{"another compiler's", func(t *testing.T, b *bench) { b.key(t, "compiler_version", "firma-seccomp-0") }, "SeccompArtifactStale", "metadata key compiler_version"},
		{"another default", func(t *testing.T, b *bench) { b.key(t, "default_action", "log") }, "SeccompArtifactTampered", "metadata key default_action"},
		{"another schema", func(t *testing.T, b *bench) { b.key(t, "policy_schema_version", 2) }, "SeccompArtifactTampered", "metadata key policy_schema_version"},
		{"filter a link", func(t *testing.T, b *bench) { b.replace(t, "policy.bpf", link) }, "SeccompArtifactTampered", "policy.bpf: it is a symbolic link"},
		{"metadata a link", func(t *testing.T, b *bench) { b.replace(t, "policy.metadata.json", link) }, "SeccompArtifactTampered", "policy.metadata.json: it is a symbolic link"},
		{"artifact a link", func(t *testing.T, b *bench) { b.replace(t, ".", link) }, "SeccompArtifactTampered", "it is a symbolic link"},
		{"version a link", func(t *testing.T, b *bench) { b.replace(t, "..", link) }, "SeccompArtifactTampered", "it is a symbolic link"},
		{"artifact directory a link", func(t *testing.T, b *bench) { b.replace(t, "../../..", link) }, "SeccompArtifactTampered", "seccomp-artifacts: it is a symbolic link"},
		{"filter a pipe", func(t *testing.T, b *bench) {
			b.replace(t, "policy.bpf", func(p, _ string) error { return syscall.Mkfifo(p, 0o600) })
		}, "SeccompArtifactTampered", "not a regular file"},
		{"metadata a pipe", func(t *testing.T, b *bench) {
			b.replace(t, "policy.metadata.json", func(p, _ string) error { return syscall.Mkfifo(p, 0o600) })
		}, "SeccompArtifactTampered", "not a regular file"},
		{"filter a directory", func(t *testing.T, b *bench) {
			b.replace(t, "policy.bpf", func(p, _ string) error { return os.Mkdir(p, 0o700) })
		}, "SeccompArtifactTampered", "not a regular file"},
		{"artifact a file", func(t *testing.T, b *bench) {
			b.replace(t, ".", func(p, _ string) error { return os.WriteFile(p, nil, 0o600) })
		}, "SeccompArtifactTampered", "not a directory"},
		{"filter longer", func(t *testing.T, b *bench) {
			b.write(t, "policy.bpf", append(bytes.Clone(b.filter), allowAll...))
		}, "SeccompArtifactTampered", "policy.bpf: checksum"},
		{"filter empty", func(t *testing.T, b *bench) { b.write(t, "policy.bpf", nil) }, "SeccompArtifactTampered", "policy.bpf: checksum"},
		{"filter of another architecture, checksum and all", func(t *testing.T, b *bench) {
			f := bytes.Clone(b.filter)
			i := bytes.Index(f, own)
			if i < 0 {
				t.Fatal("the filter does not name its architecture")
			}
			copy(f[i:], foreign)
			b.forge(t, f)
		}, "SeccompArtifactTampered", ""},
		{"an older version of the policy", func(t *testing.T, b *bench) { b.key(t, "policy_version", "0") }, "SeccompArtifactTampered", "metadata key policy_version"},
		{"metadata cut", func(t *testing.T, b *bench) { must(t, os.Truncate(b.in("policy.metadata.json"), 30)) }, "SeccompArtifactTampered", "not a JSON object"},
		{"artifact writable for its group", func(t *testing.T, b *bench) { must(t, os.Chmod(b.leaf, 0o770)) }, "SeccompArtifactTampered", "mode"},
		{"filter writable for its group", func(t *testing.T, b *bench) { must(t, os.Chmod(b.in("policy.bpf"), 0o620)) }, "SeccompArtifactTampered", "policy.bpf: mode"},
		{"filter writable for all", func(t *testing.T, b *bench) { must(t, os.Chmod(b.in("policy.bpf"), 0o666)) }, "SeccompArtifactTampered", "policy.bpf: mode"},
		{"metadata writable for its group", func(t *testing.T, b *bench) { must(t, os.Chmod(b.in("policy.metadata.json"), 0o660)) }, "SeccompArtifactTampered", "policy.metadata.json: mode"},
		{"artifact writable for all", func(t *testing.T, b *bench) { must(t, os.Chmod(b.leaf, 0o777)) }, "SeccompArtifactTampered", "mode"},
		{"artifact directory writable for all", func(t *testing.T, b *bench) { must(t, os.Chmod(b.in("../../.."), 0o777)) }, "SeccompArtifactTampered", "seccomp-artifacts: mode"},
		{"state directory writable for all", func(t *testing.T, b *bench) { must(t, os.Chmod(b.in("../../../.."), 0o777)) }, "StateDirInsecure", "others may write"},
		{"directory above writable for all", func(t *testing.T, b *bench) { must(t, os.Chmod(b.Base, 0o777)) }, "SeccompArtifactTampered", "lets everybody write"},
		{"filter of another account", func(t *testing.T, b *bench) { b.give(t, "policy.bpf") }, "SeccompArtifactTampered", "policy.bpf: owner"},
		{"metadata of another account", func(t *testing.T, b *bench) { b.give(t, "policy.metadata.json") }, "SeccompArtifactTampered", "policy.metadata.json: owner"},
		{"artifact of another account", func(t *testing.T, b *bench) { b.give(t, ".") }, "SeccompArtifactTampered", "owner"},
		{"state directory of another account", func(t *testing.T, b *bench) { b.give(t, "../../../..") }, "StateDirInsecure", "belongs to uid 54321"},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyone(t, func(t *testing.T, b *bench) {
				c.do(t, b)
				b.wantRefusal(t, b.launch(t), c.fault, c.reason)
			})
		})
	}
}

// TestIntact is the control: the same launch with nothing touched.
func TestIntact(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		for range 2 {
			if o := b.launch(t); !strings.Contains(o.Stdout, "EXECUTED") || strings.Contains(o.Stdout, "UNFILTERED") {
				t.Fatalf("%+v", o)
			}
		}
		if o := b.firma(t, nil, "seccomp", "verify"); o.Code != 0 || !strings.HasPrefix(o.Stdout, "OK ") {
			t.Errorf("verify: %+v", o)
		}
	})
}

// TestFixRepairs: the command that a refusal prints is the one that helps.
func TestFixRepairs(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		b.forge(t, b.headed())
		o := b.launch(t)
		_, rest, _ := strings.Cut(o.Stderr, "`firma ")
		command, _, ok := strings.Cut(rest, "`")
		if !ok || !strings.HasPrefix(command, "seccomp compile") {
			t.Fatalf("no command in the fix: %s", o.Stderr)
		}
		if o := b.firma(t, nil, strings.Fields(command)...); o.Code != 0 {
			t.Fatalf("firma %s: %+v", command, o)
		}
		if o := b.launch(t); o.Code == 125 || !strings.Contains(o.Stdout, "EXECUTED") {
			t.Errorf("after the fix: %+v", o)
		}
	})
}

// TestSwapping: while runs start, the filter is exchanged for one that allows
// everything and back, as fast as it goes. A run refuses, or has the right filter.
func TestSwapping(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				temp, content := b.in(".swap"), b.filter
				if i%2 == 0 {
					content = b.headed()
				}
				_ = os.WriteFile(temp, content, 0o600)
				_ = b.Account.Own(temp)
				_ = os.Rename(temp, b.in("policy.bpf"))
			}
		}()
		for range 20 {
			o := b.launch(t)
			if strings.Contains(o.Stdout, "UNFILTERED") {
				t.Errorf("a filter that was never verified is in force: %+v", o)
			}
			if executed := strings.Contains(o.Stdout, "EXECUTED"); executed == (o.Code == 125) {
				t.Errorf("%+v", o)
			}
		}
		close(stop)
		<-done
	})
}
