package policy

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Limits on the text of a bundle. The parser and the compiler behind it recurse
// without a bound of their own, and a Go stack that overflows ends the process.
const (
	maxText      = 16 << 20 // bytes of all policies together
	maxStatement = 64 << 10 // bytes of one policy
	maxDepth     = 64       // nested brackets
	maxChain     = 32       // attributes in a row: a.b.c
	maxID        = 256      // bytes of a policy id
)

// rule is one policy of a bundle.
type rule struct {
	id     cedar.PolicyID
	policy *cedar.Policy
	permit bool
	remedy remedy
	needs  needs
}

func (r *rule) tree() *ast.Policy { return (*ast.Policy)(r.policy.AST()) }

func (r *rule) problem(what string) Problem {
	pos := r.policy.Position()
	return Problem{Line: pos.Line, Col: pos.Column, Policy: string(r.id), Text: what}
}

// parse turns text into rules with ids: the @id annotation, or policy<N> where N
// counts the policies of the text from 0.
func parse(text []byte) ([]*rule, []Problem) {
	if p := guard(text); p != nil {
		return nil, []Problem{*p}
	}
	list, err := cedar.NewPolicyListFromBytes("", text)
	if err != nil {
		return nil, []Problem{precise(text, unplaced(err))}
	}
	rules := make([]*rule, len(list))
	ids := make(map[cedar.PolicyID]bool, len(list))
	var problems []Problem
	for i, p := range list {
		r := &rule{policy: p, permit: p.Effect() == cedar.Permit}
		notes := p.Annotations()
		r.id = cedar.PolicyID("policy" + strconv.Itoa(i))
		if id, ok := notes["id"]; ok {
			r.id = cedar.PolicyID(id)
		}
		if !validID(string(r.id)) {
			problems = append(problems, r.problem("an @id has 1 to 256 bytes and no control characters"))
		}
		if ids[r.id] {
			problems = append(problems, r.problem("the id is used twice"))
		}
		ids[r.id] = true
		if r.remedy, err = remedyOf(notes, r.permit); err != nil {
			problems = append(problems, r.problem(err.Error()))
		}
		r.needs = needsOf(r.tree())
		rules[i] = r
	}
	return rules, problems
}

func validID(id string) bool {
	if id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return false
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// guard checks the limits before anything recurses into the text. It follows
// the language's strings and comments and leaves every other complaint to the
// parser.
func guard(text []byte) *Problem {
	if len(text) > maxText {
		return &Problem{Text: fmt.Sprintf("the bundle has more than %d bytes", maxText)}
	}
	depth, chain, start := 0, 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i, chain = skipString(text, i), 0
		case c == '/' && i+1 < len(text) && (text[i+1] == '/' || text[i+1] == '*'):
			i = skipComment(text, i)
		case c == '(' || c == '[' || c == '{':
			depth, chain = depth+1, 0
		case c == ')' || c == ']' || c == '}':
			depth, chain = max(depth-1, 0), 0
		case c == '.':
			chain++
		case c == ';':
			depth, chain, start = 0, 0, i+1
		case !word(c):
			chain = 0
		}
		if p := over(text, i, start, depth, chain); p != nil {
			return p
		}
	}
	return nil
}

func over(text []byte, i, start, depth, chain int) *Problem {
	what := ""
	switch {
	case depth > maxDepth:
		what = fmt.Sprintf("brackets are nested more than %d deep", maxDepth)
	case chain > maxChain:
		what = fmt.Sprintf("more than %d attributes in a row", maxChain)
	case i-start > maxStatement:
		what = fmt.Sprintf("a policy has more than %d bytes", maxStatement)
	default:
		return nil
	}
	p := at(text, min(i, len(text)), what)
	return &p
}

// word reports whether c can stand between two dots of a chain of attributes:
// part of a name, or white space.
func word(c byte) bool {
	return c == '_' || c <= ' ' || c >= utf8.RuneSelf ||
		c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// skipString returns the index of the closing quote, or of the line's end where
// the parser will report the missing one.
func skipString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"' && text[i] != '\n'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

// skipComment returns the index of the last byte of the comment at i.
func skipComment(text []byte, i int) int {
	line := text[i+1] == '/'
	for i += 2; i < len(text); i++ {
		if line && text[i] == '\n' {
			return i
		}
		if !line && text[i] == '/' && text[i-1] == '*' {
			return i
		}
	}
	return i
}
