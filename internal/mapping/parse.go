package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"firma/internal/action"
	"firma/internal/fault"
)

// Parse reads a rules file; name stands in messages and in the rules' Source. It
// accepts TOML with nothing in it but version and [[rules]]. All mistakes are
// reported together, each with its line and column, as one fault.
//
// A file without "version = 2" may have been written for the older reading, where
// "*" crosses slashes and dots. It gets today's reading and a warning for every
// rule that this changes.
func Parse(name string, data []byte) (rules []Rule, warnings []string, err error) {
	p := &parser{name: name, data: data}
	p.read()
	drafts := p.settle()
	if len(p.problems) > 0 {
		return nil, nil, p.fault()
	}
	for _, d := range drafts {
		rules = append(rules, d.rule)
	}
	return rules, p.warnings, nil
}

// parser walks the expressions of one file.
type parser struct {
	name     string
	data     []byte
	lines    []int // where each line starts, made on first use
	toml     unstable.Parser
	section  section
	version  int // 0 when the file does not say
	drafts   []*draft
	problems []problem
	warnings []string
}

// section is where in the file the parser is.
type section uint8

const (
	top section = iota
	inRule
	inQuery
	unknown
)

// draft is a rule as it stands in the file, with the place of each key.
type draft struct {
	rule      Rule
	place     int // of its header, in bytes
	keys      map[string]int
	dotted    bool // the query is written as query.name = "value"
	rewritten bool // the path was in an older spelling
}

type problem struct {
	place int
	name  string
	why   string
}

func (p *parser) complain(place int, name, format string, args ...any) {
	p.problems = append(p.problems, problem{place, name, fmt.Sprintf(format, args...)})
}

func (p *parser) fault() error {
	slices.SortStableFunc(p.problems, func(a, b problem) int { return a.place - b.place })
	name := p.problems[0].name
	var lines []string
	for _, pr := range p.problems {
		lines = append(lines, p.at(pr.place)+": "+pr.why)
		if pr.name != name {
			name = invalidRules
		}
	}
	return fault.New(name, strings.Join(lines, "\n"), fixOf(name))
}

// at returns "file:line:column" for a byte offset.
func (p *parser) at(place int) string {
	line, column := p.position(place)
	return fmt.Sprintf("%s:%d:%d", p.name, line, column)
}

func (p *parser) position(place int) (line, column int) {
	if p.lines == nil {
		p.lines = []int{0}
		for i, b := range p.data {
			if b == '\n' {
				p.lines = append(p.lines, i+1)
			}
		}
	}
	line, found := slices.BinarySearch(p.lines, place)
	if found {
		line++
	}
	return line, place - p.lines[line-1] + 1
}

func (p *parser) read() {
	p.toml.Reset(p.data)
	for p.toml.NextExpression() {
		switch e := p.toml.Expression(); e.Kind {
		case unstable.ArrayTable, unstable.Table:
			p.header(e)
		case unstable.KeyValue:
			p.keyValue(e)
		}
	}
	err := p.toml.Error()
	if err == nil {
		return
	}
	var syntax *unstable.ParserError
	place := len(p.data)
	if errors.As(err, &syntax) && len(syntax.Highlight) > 0 {
		place = int(p.toml.Range(syntax.Highlight).Offset)
	}
	p.complain(place, invalidRules, "%s", strings.TrimPrefix(err.Error(), "toml: "))
}

func (p *parser) header(e *unstable.Node) {
	key, place := keyOf(e)
	switch {
	case key == "rules" && e.Kind == unstable.ArrayTable:
		p.section = inRule
		p.drafts = append(p.drafts, &draft{place: place, keys: map[string]int{}})
	case key == "rules":
		p.unknown(place, "write [[rules]], with two brackets, for each rule")
	case key == "rules.query" && keyLen(e) == 2 && e.Kind == unstable.Table && len(p.drafts) > 0:
		p.section = inQuery
		p.claim("query", place)
	default:
		p.unknown(place, fmt.Sprintf("unknown table %q%s", key, suggest(key, "rules")))
	}
}

func (p *parser) unknown(place int, why string) {
	p.section = unknown
	p.complain(place, invalidRules, "%s", why)
}

// keyOf returns a possibly dotted key and where it stands.
func keyOf(e *unstable.Node) (key string, place int) {
	var parts []string
	it := e.Key()
	for it.Next() {
		if len(parts) == 0 {
			place = int(it.Node().Raw.Offset)
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), place
}

func suggest(key string, names ...string) string {
	if n := nearest(key, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

func (p *parser) keyValue(e *unstable.Node) {
	key, place := keyOf(e)
	switch p.section {
	case top:
		p.topKey(key, place, e.Value())
	case inRule:
		p.ruleKey(key, place, e)
	case inQuery:
		p.condition(lastKey(e), place, e.Value())
	}
}

func (p *parser) topKey(key string, place int, v *unstable.Node) {
	switch {
	case key == "version" && p.version != 0:
		p.complain(place, invalidRules, "version is set twice")
	case key == "version" && v.Kind == unstable.Integer && (string(v.Data) == "1" || string(v.Data) == "2"):
		p.version = int(v.Data[0] - '0')
	case key == "version":
		p.complain(place, invalidRules, "version must be 2, or 1 for the older reading")
	case key == "rules":
		p.complain(place, invalidRules, "write each rule as a [[rules]] table")
	default:
		p.complain(place, invalidRules, "unknown key %q%s", key, suggest(key, "version", "rules"))
	}
}

func (p *parser) ruleKey(key string, place int, e *unstable.Node) {
	r := &p.draft().rule
	switch key {
	case "method":
		r.Method = p.text(key, place, e.Value())
	case "host":
		r.Host = p.text(key, place, e.Value())
	case "path":
		r.Path = p.text(key, place, e.Value())
	case "action_class":
		r.ActionClass = action.Class(p.text(key, place, e.Value()))
	case "query":
		p.claim(key, place)
		p.inline(place, e.Value())
	default:
		if strings.HasPrefix(key, "query.") && keyLen(e) == 2 {
			p.dotted(place)
			p.condition(lastKey(e), place, e.Value())
			return
		}
		p.complain(place, invalidRules, "unknown key %q%s", key, suggest(key, "method", "host", "path", "query", "action_class"))
	}
}

func (p *parser) draft() *draft { return p.drafts[len(p.drafts)-1] }

// dotted allows query.name = "value" more than once, but not beside a table.
func (p *parser) dotted(place int) {
	d := p.draft()
	if !d.dotted {
		p.claim("query", place)
	}
	d.dotted = true
}

// claim records a key of the current rule and complains when it is set twice.
func (p *parser) claim(key string, place int) {
	if _, dup := p.draft().keys[key]; dup {
		p.complain(place, invalidRules, "%s is set twice in one rule", key)
	}
	p.draft().keys[key] = place
}

func (p *parser) text(key string, place int, v *unstable.Node) string {
	p.claim(key, place)
	switch {
	case v.Kind != unstable.String:
		p.complain(place, invalidRules, "%s must be a string", key)
	case len(v.Data) == 0:
		p.complain(place, invalidRules, "%s is empty; leave the key out instead", key)
	}
	return string(v.Data)
}

func (p *parser) inline(place int, v *unstable.Node) {
	if v.Kind != unstable.InlineTable {
		p.complain(place, invalidRules, `query must be a table, as in query = { name = "value" }`)
		return
	}
	empty := true
	for it := v.Children(); it.Next(); empty = false {
		_, place := keyOf(it.Node())
		if keyLen(it.Node()) != 1 {
			p.complain(place, invalidRules, "a query parameter with a dot in its name must be quoted")
			continue
		}
		p.condition(lastKey(it.Node()), place, it.Node().Value())
	}
	if empty {
		p.complain(place, invalidRules, "query is empty; leave the key out instead")
	}
}

// condition records one name and value of query. The value may be empty.
func (p *parser) condition(name string, place int, v *unstable.Node) {
	r := &p.draft().rule
	if _, dup := r.Query[name]; dup {
		p.complain(place, invalidRules, "the query parameter %q is set twice in one rule", name)
	}
	if v.Kind != unstable.String {
		p.complain(place, invalidRules, "the query parameter %q must be a string", name)
	}
	if r.Query == nil {
		r.Query = map[string]string{}
	}
	r.Query[name] = string(v.Data)
}

func keyLen(e *unstable.Node) int {
	n := 0
	for it := e.Key(); it.Next(); {
		n++
	}
	return n
}

func lastKey(e *unstable.Node) string {
	last := ""
	for it := e.Key(); it.Next(); {
		last = string(it.Node().Data)
	}
	return last
}
