package mapping

import (
	"slices"

	"firma/internal/action"
	"firma/internal/intent"
)

// Match returns the rule that a call falls under. It is Classify for callers that
// deny whatever is not mapped.
func (t *Table) Match(c *intent.Call) (Rule, bool) {
	r, coverage := t.Classify(c)
	return r, coverage == Mapped
}

// Classify returns the rule that a call falls under and how the rules cover the
// call. The rule is empty unless the call is Mapped.
//
// A call may be read in more than one way: a method-override header, a method in
// the query, path parameters that servers may drop, slashes in the path that are
// encoded, a query parameter that is there twice. Then it counts as the most powerful of its readings, and every
// reading must be mapped. A tunnel counts as the most powerful class of its host.
func (t *Table) Classify(c *intent.Call) (Rule, Coverage) {
	r, coverage := t.classify(c)
	if coverage != Mapped {
		return Rule{}, coverage
	}
	return r.Rule, Mapped
}

func (t *Table) classify(c *intent.Call) (*rule, Coverage) {
	if c.Method == "CONNECT" {
		return t.classifyTunnel(c)
	}
	var space [4]string
	methods := otherMethods(append(space[:0], c.Method), c)
	r, coverage := t.classifyAs(c, methods, c.Path)
	for _, path := range OtherPaths(c) {
		r2, coverage2 := t.classifyAs(c, methods, path)
		r, coverage = combine(r, coverage, r2, coverage2)
	}
	return r, coverage
}

// OtherMethods returns the methods besides its own that a server may take c for: a
// header's or the query's override. Whoever judges c.Method judges these too.
func OtherMethods(c *intent.Call) []string {
	if c.Override == "" && c.RawQuery == "" {
		return nil
	}
	var space [4]string
	return otherMethods(append(space[:0], c.Method), c)[1:]
}

func otherMethods(methods []string, c *intent.Call) []string {
	if c.Override != "" {
		methods = append(methods, c.Override)
	}
	return methodsInQuery(methods, c.RawQuery)
}

// OtherPaths returns the paths besides its own that a server may take c for: it
// may decode slashes, read what it decoded once more and take the rest for a query or
// a fragment, drop parameters, and all of these. Whoever judges c.Path judges these
// too.
func OtherPaths(c *intent.Call) []string {
	var space [8]string
	paths := append(space[:0], c.Path)
	if decoded := c.Decoded(); decoded != "" {
		paths = append(paths, decoded)
	}
	for _, p := range paths {
		if short := intent.BeforeQuery(p); short != p {
			paths = append(paths, short)
		}
	}
	for _, p := range paths {
		if hasParams(p) {
			paths = append(paths, withoutParams(p))
		}
	}
	if len(paths) == 1 {
		return nil
	}
	return slices.Clone(paths[1:])
}

func (t *Table) classifyAs(c *intent.Call, methods []string, path string) (*rule, Coverage) {
	r, coverage := t.lookup(c, methods[0], path)
	for _, m := range methods[1:] {
		r2, coverage2 := t.lookup(c, m, path)
		r, coverage = combine(r, coverage, r2, coverage2)
	}
	return r, coverage
}

// combine joins two readings of one call. Of equally powerful classes it takes the
// second reading's, which is the one that the request asks for on top.
func combine(a *rule, ca Coverage, b *rule, cb Coverage) (*rule, Coverage) {
	switch {
	case ca == Unmapped && cb == Unmapped:
		return nil, Unmapped
	case ca != Mapped || cb != Mapped:
		return nil, Refused
	case action.Power(b.ActionClass) < action.Power(a.ActionClass):
		return a, Mapped
	}
	return b, Mapped
}

func (t *Table) lookup(c *intent.Call, method, path string) (*rule, Coverage) {
	if !Mappable(method) || path == "" {
		return nil, Refused
	}
	f := finder{method: method, query: c.RawQuery}
	t.match(c.HostKey(), c.Host, func(b *bucket) { b.paths.find(path, &f) })
	return f.result()
}

func (t *Table) classifyTunnel(c *intent.Call) (*rule, Coverage) {
	if c.Host == "" {
		return nil, Refused
	}
	all := t.tunnelOf(c)
	if r := all.rule(); r != nil {
		return r, Mapped
	}
	return nil, Unmapped
}

// finder gathers the rules that match one reading of a call.
type finder struct {
	method, query string
	best          *rule
	unsure        []*rule // those whose condition on the query may or may not hold
}

func (f *finder) offer(rules []*rule) {
	for _, r := range rules {
		if r.Method != "" && r.Method != f.method {
			continue
		}
		switch fitQuery(r.pairs, f.query) {
		case yes:
			if f.best == nil || r.beats(f.best) {
				f.best = r
			}
		case maybe:
			f.unsure = append(f.unsure, r)
		}
	}
}

// result picks the winner. A server may or may not see each unsure rule's
// condition hold, so the most powerful of the possible winners counts.
func (f *finder) result() (*rule, Coverage) {
	if f.best == nil {
		if len(f.unsure) > 0 {
			return nil, Refused
		}
		return nil, Unmapped
	}
	winner := f.best
	for _, r := range f.unsure {
		if r.beats(f.best) && action.Compare(r.ActionClass, winner.ActionClass) > 0 {
			winner = r
		}
	}
	return winner, Mapped
}
