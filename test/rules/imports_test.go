// Package rules holds the rules of the tree, each with its reason, as tests.
package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps,GoFiles", "firma/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// bans lists who must not import what, even indirectly.
var bans = []struct{ from, to, why string }{
	{"firma/internal/sidecar", "firma/internal/launch", "nothing in the pipeline knows the launcher"},
	{"firma/internal/authority", "firma/internal/launch", "roles meet as processes"},
	{"firma/internal/sidecar", "firma/internal/authority", "roles meet as processes; and the Sidecar must have no path to a signing key"},
	{"firma/internal/launch", "firma/internal/authority", "roles meet as processes; and the launcher must have no path to a signing key"},
	{"firma/internal/launch", "firma/internal/sidecar", "roles meet as processes; the launcher never parses agent traffic"},
	{"firma/internal/authority", "firma/internal/sidecar", "roles meet as processes"},
	{"firma/internal/sandbox", "firma/internal/sidecar", "the sandbox is a mechanism of the launcher"},
	{"firma/internal/policy", "os/exec", "policy is a pure function"},
	{"firma/internal/intent", "net/http", "the canonical form is ours, not a server's"},
	{"firma/internal/mapping", "net/http", "mapping is a pure function"},
	{"firma/internal/capability", "net/http", "token verification takes bytes and a time"},
	{"firma/internal/sidecar/proxy", "net/http", "the hot path parses strictly, with one parser"},
	{"firma/internal/sidecar/http1", "net/http", "the hot path parses strictly, with one parser"},
}

// directBans are about what a package's own files import.
var directBans = []struct{ from, to, why string }{
	{"firma/internal/policy", "os", "policy is a pure function"},
	{"firma/internal/policy", "net", "policy is a pure function"},
	{"firma/internal/capability", "os", "token verification takes bytes and a time"},
	{"firma/internal/capability", "net", "token verification takes bytes and a time"},
	{"firma/internal/intent", "os", "the canonical form is a pure function"},
	{"firma/internal/mapping", "os", "mapping is a pure function"},
	{"firma/internal/audit", "net", "the record does not depend on a network"},
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func TestImportRule(t *testing.T) {
	for _, p := range list(t) {
		for _, b := range bans {
			if !within(p.ImportPath, b.from) {
				continue
			}
			for _, d := range p.Deps {
				if (within(d, b.to) && strings.HasPrefix(b.to, "firma/")) || d == b.to {
					t.Errorf("%s reaches %s: %s", p.ImportPath, d, b.why)
				}
			}
		}
		for _, b := range directBans {
			if within(p.ImportPath, b.from) && slices.Contains(p.Imports, b.to) {
				t.Errorf("%s imports %s: %s", p.ImportPath, b.to, b.why)
			}
		}
	}
}

// TestVocabularyIsAtTheBottom: fault depends on the standard library only.
func TestVocabularyIsAtTheBottom(t *testing.T) {
	for _, p := range list(t) {
		if p.ImportPath != "firma/internal/fault" {
			continue
		}
		for _, d := range p.Deps {
			if strings.Contains(strings.Split(d, "/")[0], ".") || strings.HasPrefix(d, "firma/") {
				t.Errorf("fault imports %s", d)
			}
		}
	}
}

// TestTestOnlyPackages: what serves tests is imported by tests, and by the
// programs that tests start.
func TestTestOnlyPackages(t *testing.T) {
	for _, p := range list(t) {
		if within(p.ImportPath, "firma/internal/testkit") || within(p.ImportPath, "firma/test") {
			continue
		}
		for _, d := range p.Imports {
			if within(d, "firma/internal/testkit") || within(d, "firma/test") {
				t.Errorf("%s imports %s outside of a test", p.ImportPath, d)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" && !strings.HasSuffix(p.ImportPath, "connect") {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		last := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]
		if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, last) {
			t.Errorf("%s names no thing", p.ImportPath)
		}
	}
}
