package seed

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

// sentence is one promise of the guide.
type sentence struct {
	text   string
	proofs []string
}

func read(t *testing.T) []sentence {
	t.Helper()
	text, err := os.ReadFile("sentences.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []sentence
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch proof, indented := strings.CutPrefix(line, "\t"); {
		case line == "" || strings.HasPrefix(line, "#"):
		case !indented:
			all = append(all, sentence{text: line})
		case len(all) == 0:
			t.Fatalf("a proof of nothing: %q", line)
		default:
			s := &all[len(all)-1]
			s.proofs = append(s.proofs, proof)
		}
	}
	return all
}

// Every sentence of the guide has a proof, and every proof exists.
func TestEverySentenceIsProved(t *testing.T) {
	all := read(t)
	if len(all) < 60 {
		t.Fatalf("%d sentences were read", len(all))
	}
	seen := map[string]bool{}
	for _, s := range all {
		if seen[s.text] {
			t.Errorf("twice: %s", s.text)
		}
		seen[s.text] = true
		proofs := 0
		for _, p := range s.proofs {
			if why := missing(t, p); why != "" {
				t.Errorf("%s\n\t%s: %s", s.text, p, why)
			}
			proofs++
		}
		if proofs == 0 {
			t.Errorf("not proved: %s", s.text)
		}
	}
}

// missing says what a proof lacks, "" if it is there.
func missing(t *testing.T, proof string) string {
	t.Helper()
	head, words, _ := strings.Cut(proof, ": ")
	kind, name, ok := strings.Cut(head, " ")
	switch {
	case head == "decided":
		if len(words) < 20 {
			return "no reason is given"
		}
		return ""
	case !ok:
		return "that is no proof"
	case kind == "script":
		return missingPart(t, filepath.Join(root, "cmd/firma/testdata/script", name+".txt"), words)
	}
	return missingTest(t, filepath.Join(root, kind), name, words)
}

func missingPart(t *testing.T, path, comment string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if comment != `""` && !strings.Contains(string(text), "\n# "+comment) && !strings.HasPrefix(string(text), "# "+comment) {
		return "there is no such comment"
	}
	return ""
}

func missingTest(t *testing.T, dir, name, words string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		return "there are no tests in " + dir
	}
	head := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`)
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if !head.Match(text) {
			continue
		}
		if !strings.Contains(string(text), words) {
			return "its file does not say that"
		}
		return ""
	}
	return "there is no such test"
}
