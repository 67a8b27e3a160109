package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firma/internal/fault"
)

// cliPage is docs/cli.md by section: the heading without its marks → its lines.
func cliPage(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page, section, code := map[string][]string{}, "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if strings.HasPrefix(line, "#") && !code {
			section = strings.Trim(strings.TrimLeft(line, "# "), "`")
		}
		page[section] = append(page[section], line)
	}
	return page
}

var flagCell = regexp.MustCompile("^\\| `--([a-z-]+)")

// Every command and each of its flags is documented, and no other.
func TestCommandsAreDocumented(t *testing.T) {
	page := cliPage(t)
	sections := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		name := c.CommandPath()
		if name == "firma" {
			name = "Flags of every command"
		}
		sections[name] = true
		want, got := map[string]bool{}, map[string]bool{}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" {
				want[f.Name] = true
			}
		})
		if page[name] == nil {
			t.Errorf("%s has no section in docs/cli.md", name)
			return
		}
		for _, line := range page[name] {
			if m := flagCell.FindStringSubmatch(line); m != nil {
				got[m[1]] = true
			}
		}
		differ(t, name+": flag --", want, got)
	}
	walk(rootCommand())
	for name := range page {
		if strings.HasPrefix(name, "firma ") && !sections[name] {
			t.Errorf("docs/cli.md documents %q, which does not exist", name)
		}
	}
}

func differ(t *testing.T, what string, want, got map[string]bool) {
	t.Helper()
	for k := range want {
		if !got[k] {
			t.Errorf("%s%s is not documented", what, k)
		}
	}
	for k := range got {
		if !want[k] {
			t.Errorf("%s%s is documented and does not exist", what, k)
		}
	}
}

// rows returns the first cells of a section's table rows with their other cells.
func rows(lines []string) map[string][]string {
	out := map[string][]string{}
	for _, line := range lines {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if name := strings.Trim(cells[0], "`"); strings.HasPrefix(line, "| `") {
			out[name] = cells[1:]
		}
	}
	return out
}

func keys(m map[string][]string) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

// Every name of an error that the code can report is in the table, and no other.
func TestErrorsAreDocumented(t *testing.T) {
	table := rows(cliPage(t)["Errors"])
	names, reasons := wordsOfTheCode(t)
	for r := range reasons {
		if names[r] && table[r] == nil {
			delete(names, r) // a refusal; some are errors, too, and say so
		}
	}
	differ(t, "error ", names, keys(table))
	for name, cells := range table {
		if len(cells) != 3 || cells[1] == "" || cells[2] == "" {
			t.Errorf("error %s: status, when and fix expected, got %q", name, cells)
			continue
		}
		if usage := fault.Usage(fault.New(name, "", "")); usage && !strings.Contains(cells[0], "2") {
			t.Errorf("error %s is wrong usage, status 2 or 125; documented as %s", name, cells[0])
		}
	}
}

func TestReasonsAreDocumented(t *testing.T) {
	_, reasons := wordsOfTheCode(t)
	differ(t, "reason ", reasons, keys(rows(cliPage(t)["Refusals"])))
}

// camel is what the names of errors and refusals look like.
var camel = regexp.MustCompile(`^[A-Z][a-z]+([A-Z][a-z]*)+$`)

// notNames look like one, and are not.
var notNames = map[string]bool{"AppData": true, "KiB": true, "MiB": true, "GiB": true}

// wordsOfTheCode collects every string that is the name of an error or a reason: what
// fault.New and fault.Wrap are given, itself or as a constant, the constants of
// package verdict, and whatever else is written like one.
func wordsOfTheCode(t *testing.T) (names, reasons map[string]bool) {
	t.Helper()
	names, reasons = map[string]bool{}, map[string]bool{}
	for _, dir := range []string{"../../internal", "../../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || !d.IsDir():
				return err
			case d.Name() == "testkit" || d.Name() == "testdata" || d.Name() == "wire":
				return fs.SkipDir
			case d.Name() == "verdict":
				return wordsOfPackage(path, reasons, true)
			}
			return wordsOfPackage(path, names, false)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names, reasons
}

// abortCode is a reason in capitals, as the contract has it.
var abortCode = regexp.MustCompile(`^CONNECTOR_[A-Z_]+$|^CREDENTIAL_[A-Z_]+$|^Deferred$`)

func wordsOfPackage(dir string, to map[string]bool, verdict bool) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	constants := map[string]string{}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		files = append(files, f)
		constantsOf(f, constants)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				if s, _ := strconv.Unquote(n.Value); camel.MatchString(s) && !notNames[s] || verdict && abortCode.MatchString(s) {
					to[s] = true
				}
			case *ast.CallExpr:
				if s := faultName(n, constants); s != "" {
					to[s] = true
				}
			}
			return true
		})
	}
	return nil
}

// constantsOf collects the string constants of a file.
func constantsOf(f *ast.File, to map[string]string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for i := range min(len(v.Names), len(v.Values)) {
				if lit, ok := v.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					to[v.Names[i].Name], _ = strconv.Unquote(lit.Value)
				}
			}
		}
		return true
	})
}

// faultName is the name in fault.New(NAME, …) or fault.Wrap(err, NAME, …), "" if it
// is known only when the program runs.
func faultName(c *ast.CallExpr, constants map[string]string) string {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	pkg, ok := sel.X.(*ast.Ident)
	i := map[string]int{"New": 0, "Wrap": 1}[sel.Sel.Name]
	if !ok || pkg.Name != "fault" || len(c.Args) <= i {
		return ""
	}
	switch a := c.Args[i].(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(a.Value)
		return s
	case *ast.Ident:
		return constants[a.Name]
	}
	return ""
}

// notProvoked are the errors that no test makes the real program report, and why.
var notProvoked = map[string]string{
	"AuditCheckpointInvalid": "for programs that check a checkpoint kept elsewhere; internal/audit",
	"AuditEventInvalid":      "a mistake in firma; internal/audit",
	"AuditLogExists":         "each start has an identifier of its own; internal/audit",
	"AuditLogRewritten":      "each log has a name of its own, which no other start repeats; internal/authority",
	"AuditProofInvalid":      "for programs that check a proof; internal/audit",
	"AuditUnsupported":       "another platform",
	"Internal":               "a mistake in firma",
	"PostureUnknown":         "no command takes the name of a posture yet; internal/policy",
	"SidecarWithoutCapture":  "needs a Sidecar of another release; internal/launch plays one",
	"StartupFailed":          "for causes that have no name",
	"UnsupportedPlatform":    "another platform",
}

// Every error of docs/cli.md is provoked by a test that runs the real program: a
// script here, or test/e2e. That each has the documented status and a fix is checked
// wherever a script meets one (status).
func TestErrorsAreProvoked(t *testing.T) {
	var scripts, stories strings.Builder
	for _, pattern := range []string{"testdata/script/*.txt", "../../test/e2e/*_test.go", "../../test/e2e/*/*_test.go", "terminal_linux_test.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				switch {
				case strings.HasSuffix(p, ".go"):
					stories.WriteString(line)
				case strings.HasPrefix(line, "stderr ") || strings.HasPrefix(line, "stdout ") || strings.HasPrefix(line, "until "):
					scripts.WriteString(line)
				}
			}
		}
	}
	for name := range rows(cliPage(t)["Errors"]) {
		inScript := regexp.MustCompile(`\b` + name + `\b`).MatchString(scripts.String())
		inStory := regexp.MustCompile("[\"`]" + name + `\b`).MatchString(stories.String())
		switch why := notProvoked[name]; {
		case inScript || inStory:
			if why != "" {
				t.Errorf("%s is provoked: take it out of notProvoked", name)
			}
		case why == "":
			t.Errorf("no test provokes %s by the real program: add it to testdata/script/errors.txt, or say why not in notProvoked", name)
		}
	}
}
