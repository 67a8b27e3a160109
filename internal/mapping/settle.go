package mapping

import "fmt"

// settle turns the drafts into rules in canonical form: older spellings are
// rewritten, every rule is checked, duplicates within the file are found.
func (p *parser) settle() []*draft {
	if len(p.problems) > 0 {
		return nil // the values may not be what was meant
	}
	if len(p.drafts) == 0 {
		p.complain(len(p.data), invalidRules, "the file has no [[rules]]")
	}
	var out []*draft
	seen := map[string]*draft{}
	for _, d := range p.drafts {
		d.rewritten = p.olderReading(d)
		key, ok := p.check(d)
		first := seen[key]
		switch {
		case !ok:
		case first == nil:
			seen[key] = d
			out = append(out, d)
		case (d.rewritten || first.rewritten) && first.rule.ActionClass == d.rule.ActionClass:
			p.warn(d, "path", "this rule and %s now say the same; one is left out", first.rule.Source)
		default:
			p.complain(d.place, duplicateRule, "this rule repeats %s", first.rule.Source)
		}
	}
	return out
}

// check compiles a draft, complains at the key that is wrong, and puts the
// canonical form in its place. key tells duplicates.
func (p *parser) check(d *draft) (key string, ok bool) {
	line, _ := p.position(d.place)
	d.rule.Source = fmt.Sprintf("%s:%d", p.name, line)
	for _, k := range []string{"host", "action_class"} {
		if _, given := d.keys[k]; !given {
			p.complain(d.place, invalidRules, "the rule has no %s", k)
			return "", false
		}
	}
	c, ferr := compile(d.rule)
	if ferr != nil {
		place, given := d.keys[ferr.key]
		if !given {
			place = d.place
		}
		p.complain(place, ferr.name, "%s", ferr.why)
		return "", false
	}
	d.rule = c.Rule
	if c.host.kind == everyHost {
		p.warn(d, "host", `"*" covers every host and makes every name resolvable`)
	}
	return c.key(), true
}

func (p *parser) warn(d *draft, key, format string, args ...any) {
	place, given := d.keys[key]
	if !given {
		place = d.place
	}
	line, _ := p.position(place)
	p.warnings = append(p.warnings, fmt.Sprintf("%s:%d: ", p.name, line)+fmt.Sprintf(format, args...))
}
