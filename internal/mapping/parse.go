package mapping

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
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
