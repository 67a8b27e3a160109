package audit

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const docsPath = "../../docs/audit-format.md"

func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the nth fenced block of a language in the docs.
func block(t *testing.T, language string, n int) string {
	t.Helper()
	found := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllStringSubmatch(docs(t), -1)
	if len(found) <= n {
		t.Fatalf("%s has %d blocks of %s, want more than %d", docsPath, len(found), language, n)
	}
	return found[n][1] + "\n"
}

// needTools fails, not skips: without them nothing checks the documentation.
func needTools(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("this test runs the documentation's own commands and needs %s: install the packages python3, openssl, jq and coreutils", tool)
		}
	}
}

// published writes what a reader of the docs has: a log and a public key.
func published(t *testing.T, f *fixture, fs files) (log, key, pin string) {
	t.Helper()
	v := f.store(t, fs)
	der, err := x509.MarshalPKIXPublicKey(f.o.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key = filepath.Join(filepath.Dir(v.Path), "key.pub.pem")
	put(t, key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return v.Path, key, filepath.Join(v.CheckpointDir, "run.jsonl.checkpoint")
}

func python(t *testing.T, script string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script.py")
	put(t, path, []byte(script))
	out, err := exec.Command("python3", append([]string{path}, args...)...).CombinedOutput()
	return string(out), err
}

func TestDocumentedScriptVerifies(t *testing.T) {
	needTools(t, "python3", "openssl")
	script := block(t, "python", 0)
	for name, set := range map[string]func(*Options){
		"P-256":         nil,
		"Ed25519":       func(o *Options) { o.Key = edKey(t) },
		"signed events": func(o *Options) { o.SignEvents = true },
		"both":          func(o *Options) { o.SignEvents, o.Key = true, edKey(t) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, set)
			log, key, pin := published(t, f, f.files())
			if out, err := python(t, script, log, key, pin); err != nil || out != "OK sealed: 12 events\n" {
				t.Fatalf("%v: %s", err, out)
			}
			fs := f.files()
			fs.checkpoints = join(f.checkpoints[:3])
			log, key, _ = published(t, f, fs)
			if out, err := python(t, script, log, key); err != nil || out != "OK unsealed: 12 events, 2 of them not signed yet\n" {
				t.Fatalf("%v: %s", err, out)
			}
		})
	}
}

func TestDocumentedScriptFinds(t *testing.T) {
	needTools(t, "python3", "openssl")
	script := block(t, "python", 0)
	f := newFixture(t, nil)
	for name, c := range map[string]struct {
		edit func(*files)
		want string
	}{
		"edited":     {func(fs *files) { fs.log = join(replaced(f.log, 3, "repos", "other")) }, "event 4, line 5: does not link"},
		"last":       {func(fs *files) { fs.log = join(replaced(f.log, 11, "repos", "other")) }, "event 11, line 12: the root"},
		"spaced":     {func(fs *files) { fs.log = join(replaced(f.log, 3, ",", ", ")) }, "event 3, line 4: not canonical"},
		"removed":    {func(fs *files) { fs.log = join(without(f.log, 3, 4)) }, "event 3, line 4: number"},
		"truncated":  {func(fs *files) { fs.log = join(f.log[:9]) }, "events 9 to 11 are missing"},
		"checkpoint": {func(fs *files) { fs.checkpoints = join(replaced(f.checkpoints, 1, "\\n5\\n", "\\n4\\n")) }, "checkpoint 1: signature"},
		"kept":       {func(fs *files) { fs.checkpoints = join(f.checkpoints[:3]) }, "the kept checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := f.files()
			c.edit(&fs)
			log, key, pin := published(t, f, fs)
			if out, err := python(t, script, log, key, pin); err == nil || !strings.HasPrefix(out, "PROBLEM "+c.want) {
				t.Errorf("%v: %s; want PROBLEM %s", err, out, c.want)
			}
		})
	}
}

func TestDocumentedShell(t *testing.T) {
	needTools(t, "openssl", "jq", "sha256sum", "diff")
	f := newFixture(t, nil)
	for name, c := range map[string]struct {
		edit func(*files)
		ok   bool
	}{
		"good":      {func(*files) {}, true},
		"edited":    {func(fs *files) { fs.log = join(replaced(f.log, 0, "repos", "other")) }, false},
		"shortened": {func(fs *files) { fs.log = join(f.log[:9]) }, false},
		"forged":    {func(fs *files) { fs.checkpoints = join(replaced(f.checkpoints, 3, "kind final", "kind failed")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			fs := f.files()
			c.edit(&fs)
			log, key, _ := published(t, f, fs)
			sh := exec.Command("sh", "-eu", "-c", block(t, "sh", 0))
			sh.Dir = t.TempDir()
			sh.Env = append(os.Environ(), "LOG="+log, "KEY="+key)
			if out, err := sh.CombinedOutput(); (err == nil) != c.ok {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestDocumentedProofCheck(t *testing.T) {
	needTools(t, "python3")
	script := block(t, "python", 1)
	f := newFixture(t, func(o *Options) { o.SignEvents = true })
	for seq := range f.log {
		p, err := Prove(f.o.Path, strconv.Itoa(seq))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "proof.json")
		text, _ := json.Marshal(p)
		put(t, path, text)
		if out, err := python(t, script, path); err != nil || !strings.HasPrefix(out, "OK event "+strconv.Itoa(seq)+",") {
			t.Errorf("event %d: %v: %s", seq, err, out)
		}
		p.Path[0] = zeroHash
		text, _ = json.Marshal(p)
		put(t, path, text)
		if out, err := python(t, script, path); err == nil {
			t.Errorf("event %d with a wrong path: %s", seq, out)
		}
	}
}

// The documented members and problems are the code's.
func TestDocumentedNames(t *testing.T) {
	text := docs(t)
	event := reflect.TypeFor[Event]()
	for i := range event.NumField() {
		name, _, _ := strings.Cut(event.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(text, "\n| `"+name+"` |") {
			t.Errorf("%s lacks the member %s", docsPath, name)
		}
	}
	for _, kind := range problemKinds(t) {
		if !strings.Contains(text, "\n| `"+kind+"` |") {
			t.Errorf("%s lacks the problem %s", docsPath, kind)
		}
	}
	if n := strings.Count(text, "\n| `"); n != event.NumField()+len(problemKinds(t))+5 {
		t.Errorf("%s has %d rows: something is documented that is not there", docsPath, n)
	}
}

// problemKinds returns the values of the Problem constants.
func problemKinds(t *testing.T) (kinds []string) {
	t.Helper()
	src, err := os.ReadFile("report.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "report.go", bytes.NewReader(src), 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Problem") {
			value, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			kinds = append(kinds, value)
		}
		return true
	})
	return kinds
}
