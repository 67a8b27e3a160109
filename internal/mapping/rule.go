package mapping

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/nearest"
	"firma/internal/verdict"
)

// The names of the faults that this package returns.
const (
	invalidRules   = "InvalidRulesFile"
	duplicateRule  = "DuplicateRule"
	unknownClass   = "NonExistingActionClass"
	ambiguousRules = "AmbiguousRules"
	invalidAllow   = "InvalidAllow"
)

// rule is a compiled Rule. It never changes once made.
type rule struct {
	Rule
	host    hostPattern
	path    pathPattern
	pairs   []pair
	score   int
	accepts verdict.Accepts
}

// fieldError says what is wrong with one key of a rule.
type fieldError struct {
	key  string // of the rules file
	why  string
	name string // of the fault
}

func invalid(key, why string) *fieldError { return &fieldError{key, why, invalidRules} }

// compile checks a rule and settles its spelling. The result shares r's query
// map, which the caller must not change.
func compile(r Rule) (*rule, *fieldError) {
	c := &rule{Rule: r}
	if why := checkMethod(r.Method); why != "" {
		return nil, invalid("method", why)
	}
	var err error
	if c.host, err = parseHost(r.Host); err != nil {
		return nil, invalid("host", err.Error())
	}
	if c.path, err = parsePath(r.Path); err != nil {
		return nil, invalid("path", err.Error())
	}
	if why := checkQuery(r.Query); why != "" {
		return nil, invalid("query", why)
	}
	if ferr := checkClass(r.ActionClass); ferr != nil {
		return nil, ferr
	}
	c.pairs = sortedPairs(r.Query)
	if ferr := c.settleAccepts(); ferr != nil {
		return nil, ferr
	}
	if ferr := c.settleTunnel(); ferr != nil {
		return nil, ferr
	}
	c.Host, c.Path = c.host.String(), c.path.text
	c.score = c.scoreOf()
	return c, nil
}

// settleTunnel holds a CONNECT rule to what a tunnel shows: its host.
func (c *rule) settleTunnel() *fieldError {
	if c.Method != "CONNECT" {
		return nil
	}
	if !c.path.everything() {
		return invalid("path", "a tunnel shows no path; leave it out for CONNECT")
	}
	if len(c.pairs) > 0 {
		return invalid("query", "a tunnel shows no query; leave it out for CONNECT")
	}
	c.path = pathPattern{rest: true}
	return nil
}

func (c *rule) settleAccepts() *fieldError {
	for i, word := range c.TunnelAccepts {
		a, ok := verdict.ParseAccepts(word)
		switch {
		case c.Method != "CONNECT":
			return invalid("tunnel_accepts", "only a rule with method CONNECT has it")
		case !ok:
			return invalid("tunnel_accepts", fmt.Sprintf("%q is none of %s", word, strings.Join(verdict.AcceptsWords(), ", ")))
		case slices.Contains(c.TunnelAccepts[:i], word):
			return invalid("tunnel_accepts", word+" is there twice")
		}
		c.accepts |= a
	}
	return nil
}

func checkMethod(m string) string {
	if m == "" || m == "CONNECT" || Mappable(m) {
		return ""
	}
	if up := strings.ToUpper(m); up == "CONNECT" || Mappable(up) {
		return "methods are upper case: write " + up
	}
	return "the method is none of GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS and CONNECT; leave it out for any method"
}

// Mappable reports the methods that rules speak of. TRACE is not among them: the
// reply shows the request's headers, injected credentials included.
func Mappable(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS":
		return true
	}
	return false
}

func checkQuery(query map[string]string) string {
	for k, v := range query {
		if k == "" {
			return "a query parameter has no name"
		}
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return "a query parameter is not UTF-8"
		}
	}
	return ""
}

func checkClass(c action.Class) *fieldError {
	if action.Known(c) {
		return nil
	}
	why := fmt.Sprintf("there is no action class %q", c)
	switch {
	case c == "":
		return invalid("action_class", "the rule has no action class")
	case action.Reserved(c):
		why = fmt.Sprintf("the action class %q is reserved and must not be used", c)
	default:
		if n := nearest.Name(string(c), classNames()); n != "" {
			why += fmt.Sprintf("; did you mean %q?", n)
		}
	}
	return &fieldError{"action_class", why, unknownClass}
}

func classNames() []string {
	var names []string
	for _, c := range action.All() {
		names = append(names, string(c))
	}
	return names
}

// scoreOf is the contract's score; the greatest one wins.
func (c *rule) scoreOf() int {
	score := c.path.score()
	if c.host.kind == exactHost {
		score += 100
	}
	if c.Method != "" {
		score += 10
	}
	return score
}

// beats reports that c wins over d for a call that both match. Of two rules with
// the same score, the one that the other holds is the narrower one; NewTable
// refuses pairs that this does not order.
func (c *rule) beats(d *rule) bool {
	switch {
	case c.score != d.score:
		return c.score > d.score
	case c.host.level() != d.host.level():
		return c.host.level() > d.host.level()
	case c.path.level() != d.path.level():
		return c.path.level() > d.path.level()
	}
	return len(c.pairs) > len(d.pairs)
}

// within reports that every call c matches is matched by d, given that their
// hosts are nested that way.
func (c *rule) within(d *rule) bool {
	return (d.Method == "" || c.Method == d.Method) && c.host.level() >= d.host.level() &&
		c.path.within(d.path) && holds(c.pairs, d.pairs)
}

// key is what makes two rules duplicates.
func (c *rule) key() string {
	var b strings.Builder
	b.WriteString(c.Method + " " + c.Host + " " + c.Path)
	for _, p := range c.pairs {
		b.WriteString(" " + strconv.Quote(p.name) + "=" + strconv.Quote(p.value))
	}
	return b.String()
}

func (c *rule) fault(ferr *fieldError) error {
	return fault.New(ferr.name, fmt.Sprintf("%s: %s: %s", c.Source, ferr.key, ferr.why), fixOf(ferr.name))
}

func fixOf(name string) string {
	switch name {
	case unknownClass:
		return "use a class of the registry; docs/mapping-rules.md lists them"
	case duplicateRule:
		return "remove one of the two rules"
	case ambiguousRules:
		return "make one of the two rules narrower, or add a rule for the calls they share"
	}
	return "correct the rule; docs/mapping-rules.md describes the format"
}
