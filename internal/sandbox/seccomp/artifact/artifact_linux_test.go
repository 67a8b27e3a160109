package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"firma/internal/fault"
	"firma/internal/sandbox/seccomp"
)

// another is an account that is neither root nor this one.
const another = 54321

func plan(t testing.TB, o Options, state string) *Plan {
	t.Helper()
	p, err := New(o, state)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// compiled is a state directory with the artifact of the shipped policy.
func compiled(t testing.TB) *Plan {
	t.Helper()
	p := plan(t, Options{}, t.TempDir())
	if _, err := p.Launch(); err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
}

func TestFirstLaunchCompiles(t *testing.T) {
	p := plan(t, Options{}, filepath.Join(t.TempDir(), "not", "yet"))
	filter, err := p.Launch()
	must(t, err)
	if !bytes.Equal(filter, p.Filter()) || seccomp.Prove(filter, nil) != nil {
		t.Error("what is launched is not the compiled filter")
	}
	want := filepath.Join("seccomp-artifacts", "generic-local-command", fmt.Sprint("1.", seccomp.Version), seccomp.Arch())
	if !strings.HasSuffix(p.Dir, want) {
		t.Errorf("the artifact is in %s, want …/%s", p.Dir, want)
	}
	var m map[string]any
	b, err := os.ReadFile(filepath.Join(p.Dir, metadataName))
	must(t, err)
	must(t, json.Unmarshal(b, &m))
	delete(m, "generated_at")
	if diff := cmp.Diff(map[string]any{
		"policy_schema_version": 1.0, "policy_id": "generic-local-command", "policy_version": fmt.Sprint("1.", seccomp.Version),
		"sha256": checksum(filter), "compiler_version": fmt.Sprint("firma-seccomp-", seccomp.Version), "target_arch": seccomp.Arch(),
		"default_action": "allow", "source_policy_refs": []any{"docs/seccomp.md"},
		"source_policy_sha256": checksum([]byte(Shipped)), "denied_syscalls": []any{},
	}, m); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	modes := map[string]fs.FileMode{}
	must(t, filepath.WalkDir(p.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			modes[filepath.Base(path)] = info.Mode()
		}
		return err
	}))
	for name, mode := range modes {
		want := fs.ModeDir | 0o700
		if strings.HasPrefix(name, "policy.") {
			want = 0o600
		}
		if mode != want {
			t.Errorf("%s has mode %v, want %v", name, mode, want)
		}
	}
}

func TestSamePolicySameBytes(t *testing.T) {
	a, b := compiled(t), compiled(t)
	if !bytes.Equal(read(t, a, filterName), read(t, b, filterName)) {
		t.Error("two compilations differ")
	}
}

func read(t testing.TB, p *Plan, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Dir, name))
	must(t, err)
	return b
}

// editMetadata changes a key of the metadata; nil removes it.
func editMetadata(key string, value any) func(testing.TB, *Plan) {
	return func(t testing.TB, p *Plan) {
		var m map[string]any
		must(t, json.Unmarshal(read(t, p, metadataName), &m))
		m[key] = value
		if value == nil {
			delete(m, key)
		}
		b, _ := json.MarshalIndent(m, "", "  ")
		must(t, os.WriteFile(filepath.Join(p.Dir, metadataName), b, 0o600))
	}
}

// forge replaces the filter and makes the metadata agree with it.
func forge(filter []byte) func(testing.TB, *Plan) {
	return func(t testing.TB, p *Plan) {
		must(t, os.WriteFile(filepath.Join(p.Dir, filterName), filter, 0o600))
		meta := bytes.Replace(read(t, p, metadataName), []byte(checksum(p.filter)), []byte(checksum(filter)), 1)
		must(t, os.WriteFile(filepath.Join(p.Dir, metadataName), meta, 0o600))
	}
}

func in(p *Plan, name string) string { return filepath.Join(p.Dir, name) }

func replaceBy(name string, replace func(path, old string) error) func(testing.TB, *Plan) {
	return func(t testing.TB, p *Plan) {
		path := filepath.Join(p.Dir, name)
		old := filepath.Join(t.TempDir(), "old")
		must(t, os.Rename(path, old))
		must(t, replace(path, old))
	}
}

func symlinked(path, old string) error { return os.Symlink(old, path) }

func chmod(name string, mode os.FileMode) func(testing.TB, *Plan) {
	return func(t testing.TB, p *Plan) { must(t, os.Chmod(filepath.Join(p.Dir, name), mode)) }
}

func chown(name string) func(testing.TB, *Plan) {
	return func(t testing.TB, p *Plan) {
		needRoot(t)
		must(t, os.Lchown(filepath.Join(p.Dir, name), another, another))
	}
}

var nothing = []byte{0x06, 0, 0, 0, 0, 0, 0xff, 0x7f} // one instruction: allow everything

// fixedTime stands for the time of a compilation.
var fixedTime = time.Unix(1700000000, 0)

// tamperings are ways to damage an artifact of the shipped policy, each with the
// fault and a part of the reason.
var tamperings = []struct {
	name   string
	do     func(testing.TB, *Plan)
	fault  string
	reason string
}{
	{"filter edited", func(t testing.TB, p *Plan) {
		b := read(t, p, filterName)
		b[len(b)-20] ^= 1
		must(t, os.WriteFile(in(p, filterName), b, 0o600))
	}, "SeccompArtifactTampered", "checksum"},
	{"filter cut", func(t testing.TB, p *Plan) { must(t, os.Truncate(in(p, filterName), 80)) }, "SeccompArtifactTampered", "checksum"},
	{"filter empty", func(t testing.TB, p *Plan) { must(t, os.Truncate(in(p, filterName), 0)) }, "SeccompArtifactTampered", "checksum"},
	{"filter huge", func(t testing.TB, p *Plan) { must(t, os.Truncate(in(p, filterName), maxFilter+8)) }, "SeccompArtifactTampered", "exceed"},
	{"forged: allows everything", forge(nothing), "SeccompArtifactTampered", "can't be loaded: it does not begin with the check of the architecture"},
	{"forged: half an instruction", forge([]byte("1234")), "SeccompArtifactTampered", "can't be loaded"},
	{"forged: one refusal taken out", func(t testing.TB, p *Plan) {
		b := bytes.Clone(p.filter)
		b[6*8+4] ^= 0xff // the number in the first comparison of the base
		forge(b)(t, p)
	}, "SeccompArtifactTampered", "not what policy generic-local-command compiles to"},
	{"filter missing", func(t testing.TB, p *Plan) { must(t, os.Remove(in(p, filterName))) }, "SeccompArtifactMissing", "policy.bpf: the file does not exist"},
	{"metadata missing", func(t testing.TB, p *Plan) { must(t, os.Remove(in(p, metadataName))) }, "SeccompArtifactMissing", "policy.metadata.json: the file does not exist"},
	{"metadata no JSON", func(t testing.TB, p *Plan) { must(t, os.WriteFile(in(p, metadataName), []byte("{"), 0o600)) }, "SeccompArtifactTampered", "not a JSON object"},
	{"metadata key added", editMetadata("note", "x"), "SeccompArtifactTampered", `unknown metadata key "note"`},
	{"metadata key in other case", editMetadata("SHA256", "x"), "SeccompArtifactTampered", `unknown metadata key "SHA256"`},
	{"metadata of wrong type", editMetadata("policy_schema_version", "1"), "SeccompArtifactTampered", "policy_schema_version has a value of the wrong type"},
	{"schema version", editMetadata("policy_schema_version", 2), "SeccompArtifactTampered", "policy_schema_version"},
	{"policy id", editMetadata("policy_id", "other"), "SeccompArtifactTampered", "policy_id"},
	{"policy version", editMetadata("policy_version", "0"), "SeccompArtifactTampered", "policy_version"},
	{"checksum edited", editMetadata("sha256", strings.Repeat("0", 64)), "SeccompArtifactTampered", "checksum"},
	{"time", editMetadata("generated_at", "yesterday"), "SeccompArtifactTampered", "generated_at"},
	{"compiler", editMetadata("compiler_version", "firma-seccomp-0"), "SeccompArtifactStale", "compiler_version"},
	{"architecture", editMetadata("target_arch", "riscv64"), "SeccompArtifactTampered", "target_arch"},
	{"default action", editMetadata("default_action", "deny"), "SeccompArtifactTampered", "default_action"},
	{"references", editMetadata("source_policy_refs", []string{}), "SeccompArtifactTampered", "source_policy_refs"},
	{"source hash", editMetadata("source_policy_sha256", strings.Repeat("0", 64)), "SeccompArtifactStale", "source_policy_sha256"},
	{"denied calls", editMetadata("denied_syscalls", []string{"setuid"}), "SeccompArtifactTampered", "denied_syscalls"},
	{"a key twice", func(t testing.TB, p *Plan) {
		b := bytes.Replace(read(t, p, metadataName), []byte("{"), []byte(`{"sha256": "x",`), 1)
		must(t, os.WriteFile(in(p, metadataName), b, 0o600))
	}, "SeccompArtifactTampered", "not as firma wrote it"},
	{"filter a link", replaceBy(filterName, symlinked), "SeccompArtifactTampered", "policy.bpf: it is a symbolic link"},
	{"metadata a link", replaceBy(metadataName, symlinked), "SeccompArtifactTampered", "policy.metadata.json: it is a symbolic link"},
	{"artifact a link", replaceBy(".", symlinked), "SeccompArtifactTampered", "it is a symbolic link"},
	{"version a link", replaceBy("..", symlinked), "SeccompArtifactTampered", "it is a symbolic link"},
	{"policy a link", replaceBy("../..", symlinked), "SeccompArtifactTampered", "generic-local-command: it is a symbolic link"},
	{"artifact directory a link", replaceBy("../../..", symlinked), "SeccompArtifactTampered", "seccomp-artifacts: it is a symbolic link"},
	{"filter a pipe", replaceBy(filterName, func(path, _ string) error { return unix.Mkfifo(path, 0o600) }), "SeccompArtifactTampered", "not a regular file"},
	{"filter a directory", replaceBy(filterName, func(path, _ string) error { return os.Mkdir(path, 0o700) }), "SeccompArtifactTampered", "not a regular file"},
	{"artifact a file", replaceBy(".", func(path, _ string) error { return os.WriteFile(path, nil, 0o600) }), "SeccompArtifactTampered", "not a directory"},
	{"filter group-writable", chmod(filterName, 0o620), "SeccompArtifactTampered", "policy.bpf: mode"},
	{"filter writable for all", chmod(filterName, 0o602), "SeccompArtifactTampered", "policy.bpf: mode"},
	{"metadata writable for all", chmod(metadataName, 0o606), "SeccompArtifactTampered", "policy.metadata.json: mode"},
	{"artifact writable for all", chmod(".", 0o777), "SeccompArtifactTampered", "mode"},
	{"version group-writable", chmod("..", 0o770), "SeccompArtifactTampered", "mode"},
	{"policy writable for all", chmod("../..", 0o707), "SeccompArtifactTampered", "generic-local-command: mode"},
	{"artifact directory writable for all", chmod("../../..", 0o777), "SeccompArtifactTampered", "seccomp-artifacts: mode"},
	{"artifact directory sticky", chmod("../../..", 0o777|os.ModeSticky), "SeccompArtifactTampered", "seccomp-artifacts: mode"},
	{"state directory writable for all", chmod("../../../..", 0o777), "SeccompArtifactTampered", "lets everybody write"},
	{"filter of another", chown(filterName), "SeccompArtifactTampered", "policy.bpf: owner"},
	{"metadata of another", chown(metadataName), "SeccompArtifactTampered", "policy.metadata.json: owner"},
	{"artifact of another", chown("."), "SeccompArtifactTampered", "owner"},
	{"artifact directory of another", chown("../../.."), "SeccompArtifactTampered", "seccomp-artifacts: owner"},
	{"state directory of another", chown("../../../.."), "SeccompArtifactTampered", "belongs to uid 54321"},
}

// TestTampering: whatever is wrong, nothing is launched, the reason is named, and
// what is on disk stays for whoever looks into it.
func TestTampering(t *testing.T) {
	for _, tt := range tamperings {
		for _, mode := range []Mode{CompileOnLaunch, PrecompiledOnly} {
			t.Run(tt.name+"/"+string(mode), func(t *testing.T) {
				p := compiled(t)
				p.mode = mode
				tt.do(t, p)
				before := snapshot(t, p.root)
				filter, err := p.Launch()
				var f *fault.Error
				if filter != nil || !errors.As(err, &f) || f.Name != tt.fault || !strings.Contains(f.Text, tt.reason) {
					t.Fatalf("got %d bytes, %v; want %s with %q", len(filter), err, tt.fault, tt.reason)
				}
				if f.Fix == "" {
					t.Error("the fault has no fix")
				}
				if diff := cmp.Diff(before, snapshot(t, p.root)); diff != "" {
					t.Errorf("the launch changed what was there:\n%s", diff)
				}
			})
		}
	}
}

// snapshot describes a tree: mode, inode and content of each name.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	walk := func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), info.Sys().(*syscall.Stat_t).Ino)
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(b)
		}
		out[path] = text
		return nil
	}
	must(t, filepath.WalkDir(root, walk))
	return out
}

// TestCompileRepairs: the command in the fixes makes a damaged artifact anew, where
// the directories are still this user's.
func TestCompileRepairs(t *testing.T) {
	for _, tt := range tamperings {
		if strings.Contains(tt.reason, "seccomp-artifacts") || strings.Contains(tt.reason, "generic-local-command: ") ||
			strings.HasPrefix(tt.name, "version ") || strings.HasPrefix(tt.name, "state ") {
			continue // above the artifact: a person has to look
		}
		t.Run(tt.name, func(t *testing.T) {
			p := compiled(t)
			tt.do(t, p)
			must(t, p.Compile())
			filter, err := p.Launch()
			if err != nil || !bytes.Equal(filter, p.filter) {
				t.Errorf("after compiling: %v", err)
			}
			left, err := os.ReadDir(filepath.Dir(p.Dir))
			must(t, err)
			if len(left) != 1 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// TestCompileRefusesForeignDirectories: the artifact directory itself is never
// repaired silently.
func TestCompileRefusesForeignDirectories(t *testing.T) {
	for _, tt := range tamperings {
		if !strings.Contains(tt.reason, "seccomp-artifacts") && !strings.HasPrefix(tt.name, "state ") {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			p := compiled(t)
			tt.do(t, p)
			if err := p.Compile(); fault.NameOf(err) != "SeccompArtifactTampered" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPrecompiledOnly(t *testing.T) {
	state := t.TempDir()
	p := plan(t, Options{Mode: PrecompiledOnly}, state)
	_, err := p.Launch()
	var f *fault.Error
	if !errors.As(err, &f) || f.Name != "SeccompArtifactMissing" || !strings.Contains(f.Fix, "firma seccomp compile --artifact-dir "+p.root) {
		t.Fatalf("got %v", err)
	}
	if left, _ := os.ReadDir(state); len(left) != 0 {
		t.Errorf("something was made: %v", left)
	}
	must(t, p.Compile())
	if _, err := p.Launch(); err != nil {
		t.Error(err)
	}
}

// TestSwappedFileHasNoEffect: while a launch verifies, another process replaces
// the filter again and again. Either the launch refuses, or what it returns is the
// right filter: what was checked is what is used.
func TestSwappedFileHasNoEffect(t *testing.T) {
	p := compiled(t)
	bad := append(bytes.Clone(p.filter[:24]), nothing...)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			content := p.filter
			if i%2 == 0 {
				content = bad
			}
			temp := in(p, ".swap")
			_ = os.WriteFile(temp, content, 0o600)
			_ = os.Rename(temp, in(p, filterName))
		}
	}()
	passed, refused := 0, 0
	for i := 0; i < 20000 && (passed < 20 || refused < 20); i++ {
		filter, err := p.Launch()
		switch {
		case err != nil && filter != nil:
			t.Fatal("an error with a filter")
		case err != nil:
			refused++
		case !bytes.Equal(filter, p.filter):
			t.Fatal("a filter that was never verified")
		default:
			passed++
		}
	}
	close(stop)
	<-done
	if passed == 0 || refused == 0 {
		t.Errorf("%d passed and %d were refused: the race did not happen", passed, refused)
	}
}

// TestConcurrentLaunches: runs that start at once on a fresh machine, beside a
// compilation that replaces the artifact, all get the filter.
func TestConcurrentLaunches(t *testing.T) {
	state := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(2)
		go func() {
			defer wg.Done()
			p := plan(t, Options{}, state)
			if filter, err := p.Launch(); err != nil || !bytes.Equal(filter, p.filter) {
				t.Errorf("launch: %v", err)
			}
		}()
		go func() {
			defer wg.Done()
			if err := plan(t, Options{}, state).Compile(); err != nil {
				t.Errorf("compile: %v", err)
			}
		}()
	}
	wg.Wait()
}

func TestPlacesThatCanBeTrusted(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, base string) (dir string){
		"through a link of ours": func(t *testing.T, base string) string {
			must(t, os.MkdirAll(filepath.Join(base, "real"), 0o700))
			must(t, os.Symlink("real", filepath.Join(base, "link")))
			return filepath.Join(base, "link", "artifacts")
		},
		"through an absolute link": func(t *testing.T, base string) string {
			must(t, os.MkdirAll(filepath.Join(base, "real"), 0o700))
			must(t, os.Symlink(filepath.Join(base, "real"), filepath.Join(base, "link")))
			return filepath.Join(base, "link", "artifacts")
		},
		"below a sticky directory": func(t *testing.T, base string) string {
			must(t, os.Mkdir(filepath.Join(base, "tmp"), 0o700))
			must(t, os.Chmod(filepath.Join(base, "tmp"), 0o777|os.ModeSticky))
			return filepath.Join(base, "tmp", "artifacts")
		},
		"below one of our private group": func(t *testing.T, base string) string {
			must(t, os.Mkdir(filepath.Join(base, "home"), 0o700))
			must(t, os.Chmod(filepath.Join(base, "home"), 0o775))
			return filepath.Join(base, "home", "artifacts")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, Options{ArtifactDir: prepare(t, t.TempDir())}, "/nonexistent")
			if _, err := p.Launch(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPlacesThatCanNot(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, base string) (dir string){
		"below a directory for everybody": func(t *testing.T, base string) string {
			must(t, os.Mkdir(filepath.Join(base, "open"), 0o700))
			must(t, os.Chmod(filepath.Join(base, "open"), 0o777))
			return filepath.Join(base, "open", "artifacts")
		},
		"below a foreign group's directory": func(t *testing.T, base string) string {
			needRoot(t)
			must(t, os.Mkdir(filepath.Join(base, "group"), 0o700))
			must(t, os.Chown(filepath.Join(base, "group"), 0, another))
			must(t, os.Chmod(filepath.Join(base, "group"), 0o775))
			return filepath.Join(base, "group", "artifacts")
		},
		"through a foreign link": func(t *testing.T, base string) string {
			needRoot(t)
			must(t, os.Mkdir(filepath.Join(base, "real"), 0o700))
			must(t, os.Symlink("real", filepath.Join(base, "link")))
			must(t, os.Lchown(filepath.Join(base, "link"), another, another))
			return filepath.Join(base, "link", "artifacts")
		},
		"through a link that turns in a circle": func(t *testing.T, base string) string {
			must(t, os.Symlink("b", filepath.Join(base, "a")))
			must(t, os.Symlink("a", filepath.Join(base, "b")))
			return filepath.Join(base, "a", "artifacts")
		},
		"below a file": func(t *testing.T, base string) string {
			must(t, os.WriteFile(filepath.Join(base, "f"), nil, 0o600))
			return filepath.Join(base, "f", "artifacts")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t, Options{ArtifactDir: prepare(t, t.TempDir())}, "/nonexistent")
			filter, err := p.Launch()
			if filter != nil || fault.NameOf(err) == "" {
				t.Errorf("got %d bytes, %v", len(filter), err)
			}
		})
	}
}

func TestNotWritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere; test/e2e/seccomp has a read-only mount")
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o500))
	if _, err := plan(t, Options{}, dir).Launch(); fault.NameOf(err) != "SeccompArtifactNotWritable" {
		t.Errorf("got %v", err)
	}
}

func BenchmarkLaunchWarm(b *testing.B) {
	p := compiled(b)
	for b.Loop() {
		q, err := New(Options{}, filepath.Dir(p.root))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := q.Launch(); err != nil {
			b.Fatal(err)
		}
	}
}
