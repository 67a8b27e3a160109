package mapping

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"firma/internal/action"
	"firma/internal/nearest"
)

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
	case "tunnel_accepts":
		p.claim(key, place)
		r.TunnelAccepts = p.words(key, place, e.Value())
	case "query":
		p.claim(key, place)
		p.inline(place, e.Value())
	default:
		if strings.HasPrefix(key, "query.") && keyLen(e) == 2 {
			p.dotted(place)
			p.condition(lastKey(e), place, e.Value())
			return
		}
		p.complain(place, invalidRules, "unknown key %q%s", key, suggest(key, "method", "host", "path", "query", "action_class", "tunnel_accepts"))
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

// words reads a list of strings that is not empty.
func (p *parser) words(key string, place int, v *unstable.Node) (words []string) {
	if v.Kind != unstable.Array {
		p.complain(place, invalidRules, `%s must be a list, as in %s = ["missing_sni"]`, key, key)
		return nil
	}
	for it := v.Children(); it.Next(); {
		if it.Node().Kind != unstable.String {
			p.complain(place, invalidRules, "%s must hold strings", key)
			return nil
		}
		words = append(words, string(it.Node().Data))
	}
	if len(words) == 0 {
		p.complain(place, invalidRules, "%s is empty; leave the key out instead", key)
	}
	return words
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
	if n := nearest.Name(key, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}
