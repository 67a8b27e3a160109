package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links of the documents lead to files and headings that exist.
func TestLinksLeadSomewhere(t *testing.T) {
	root := "../.."
	n := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		pages, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllStringSubmatch(withoutCode(string(text)), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				n++
				file, heading, _ := strings.Cut(m[1], "#")
				target := page
				if file != "" {
					target = filepath.Join(filepath.Dir(page), file)
				}
				to, err := os.ReadFile(target)
				if info, serr := os.Stat(target); serr == nil && info.IsDir() {
					continue
				}
				if err != nil || heading != "" && !headings(string(to))[heading] {
					t.Errorf("%s leads nowhere: %s", page, m[1])
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d links were found", n)
	}
}

// withoutCode blanks blocks and spans of code.
func withoutCode(text string) string {
	text = regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(text, "")
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(text, "`")
}

// headings are the anchors of a page, as the usual renderers make them.
func headings(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(text, "")) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		var b strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#"))) {
			switch {
			case r == ' ':
				b.WriteRune('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				b.WriteRune(r)
			}
		}
		found[b.String()] = true
	}
	return found
}
