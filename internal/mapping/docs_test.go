package mapping_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"firma/internal/action"
	"firma/internal/mapping"
)

// The page that documents the format must say what the code does.
func TestDocumentedExamplesLoad(t *testing.T) {
	blocks := tomlBlocks(t)
	if len(blocks) < 5 {
		t.Fatalf("found %d examples", len(blocks))
	}
	for _, b := range blocks {
		rules, warnings, err := mapping.Parse("docs/mapping-rules.md", []byte(b))
		if err != nil {
			t.Errorf("%v\n%s", err, b)
			continue
		}
		if _, err := mapping.NewTable(rules); err != nil {
			t.Errorf("%v\n%s", err, b)
		}
		if current := strings.Contains(b, "version = 2"); current != (len(warnings) == 0) {
			t.Errorf("warnings %q\n%s", warnings, b)
		}
	}
}

func TestDocumentedQueryExample(t *testing.T) {
	var table *mapping.Table
	for _, b := range tomlBlocks(t) {
		if strings.Contains(b, "git.example.com") {
			table = load(t, b)
		}
	}
	for url, want := range map[string]action.Class{
		"http://git.example.com/o/r/info/refs?service=git-upload-pack":                          "code.read",
		"http://git.example.com/o/r/info/refs?service=git-receive-pack":                         "code.write",
		"http://git.example.com/o/r/info/refs?service=git-upload-pack&service=git-receive-pack": "code.write",
	} {
		expect(t, table, "GET", url, want)
	}
	expect(t, table, "PUT", "http://storage.example.com/bucket?acl", "account.permission.change")
	expect(t, table, "PUT", "http://storage.example.com/bucket", "")
}

func TestDocumentedClassesAreTheRegistry(t *testing.T) {
	_, list, _ := strings.Cut(page(t), "## Action classes")
	documented := map[string]action.Risk{}
	for line := range strings.Lines(list) {
		for r := action.Low; r <= action.Critical; r++ {
			if strings.HasPrefix(line, "| "+r.String()+" |") {
				for i, c := range strings.Split(line, "`") {
					if i%2 == 1 {
						documented[c] = r
					}
				}
			}
		}
	}
	for _, c := range action.All() {
		if documented[string(c)] != action.RiskOf(c) {
			t.Errorf("%s: documented as %v, is %v", c, documented[string(c)], action.RiskOf(c))
		}
	}
	if len(documented) != len(action.All()) {
		t.Errorf("%d classes documented, %d exist", len(documented), len(action.All()))
	}
}

func TestDocumentedShippedNames(t *testing.T) {
	_, section, _ := strings.Cut(page(t), "## Shipped rules")
	section, _, _ = strings.Cut(section, "They")
	var names []string
	for i, n := range strings.Split(section, "`") {
		if i%2 == 1 {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, mapping.ShippedNames()) {
		t.Errorf("documented %v, shipped %v", names, mapping.ShippedNames())
	}
}

func page(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/mapping-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func tomlBlocks(t *testing.T) []string {
	var blocks []string
	for i, part := range strings.Split(page(t), "```") {
		if body, ok := strings.CutPrefix(part, "toml\n"); ok && i%2 == 1 {
			blocks = append(blocks, body)
		}
	}
	return blocks
}
