package mapping

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/intent"
)

// Table is a set of rules, indexed by host and path. It is immutable and safe for
// concurrent use. The zero value maps nothing.
type Table struct {
	hosts [exactHost + 1]map[string]*bucket // by kind, then by hostPattern.key
	names [exactHost + 1]map[string]bool    // the same without ports, for Routable
	apart [exactHost + 1]map[string]bool    // those of names whose calls rules tell apart
	len   int
}

// bucket holds the rules of one host pattern.
type bucket struct {
	paths  node // all rules but those for tunnels
	tunnel tunnel
	carry  []action.Class // what calls to the host can be, by any rule; sorted
}

// NewTable checks and indexes the rules. Two rules with the same method, host,
// path and query are an error, and so are two that match a call in common with
// the same score unless one matches everything the other does and less. Rules
// that firma itself makes (shipped, for a registry, from --allow) may repeat one
// another; the more powerful class stays. The errors are faults that name both
// sources.
func NewTable(rules []Rule) (*Table, error) {
	compiled, err := distinct(rules)
	if err != nil {
		return nil, err
	}
	t := &Table{}
	for _, r := range compiled {
		t.add(r)
	}
	for _, r := range compiled {
		if err := t.checkAmbiguity(r); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Len returns the number of rules.
func (t *Table) Len() int { return t.len }

// distinct compiles the rules and settles duplicates.
func distinct(rules []Rule) ([]*rule, error) {
	var out []*rule
	index := map[string]int{}
	for _, r := range rules {
		c, ferr := compile(r)
		if ferr != nil {
			return nil, (&rule{Rule: r}).fault(ferr)
		}
		key := c.key()
		i, dup := index[key]
		if !dup {
			index[key] = len(out)
			out = append(out, c)
			continue
		}
		kept, ok := merge(out[i], c)
		if !ok {
			return nil, duplicate(out[i], c)
		}
		out[i] = kept
	}
	return out, nil
}

// merge returns which of two rules with the same key stays; false for two that a
// person wrote, or one a person wrote and one that firma made.
func merge(a, b *rule) (*rule, bool) {
	switch {
	case a.Grant:
		return a, true
	case b.Grant:
		return b, true
	case !a.made() || !b.made():
		return nil, false
	case action.Compare(b.ActionClass, a.ActionClass) > 0:
		return b, true
	}
	return a, true
}

// made reports a rule that firma made.
func (c *rule) made() bool {
	return c.Grant || strings.HasPrefix(c.Source, shippedPrefix) || strings.HasPrefix(c.Source, registryPrefix)
}

func duplicate(a, b *rule) error {
	return fault.New(duplicateRule, fmt.Sprintf("%s repeats %s: both are %s", b.Source, a.Source, describe(a)), fixOf(duplicateRule))
}

func describe(r *rule) string {
	s := cmp.Or(r.Method, "any method") + " " + r.Host + r.Path
	for i, p := range r.pairs {
		s += []string{"?", "&"}[min(i, 1)] + p.name + "=" + p.value
	}
	return s
}

func (t *Table) add(r *rule) {
	k := r.host.kind
	if t.hosts[k] == nil {
		t.hosts[k], t.names[k], t.apart[k] = map[string]*bucket{}, map[string]bool{}, map[string]bool{}
	}
	b := t.hosts[k][r.host.key]
	if b == nil {
		b = &bucket{}
		t.hosts[k][r.host.key] = b
	}
	t.names[k][r.host.name] = true
	if r.tellsApart() {
		t.apart[k][r.host.name] = true
	}
	if r.Method != "CONNECT" {
		b.paths.insert(r)
	}
	b.tunnel.add(r)
	if i, found := slices.BinarySearch(b.carry, r.ActionClass); !found {
		b.carry = slices.Insert(b.carry, i, r.ActionClass)
	}
	t.len++
}

// checkAmbiguity compares r with the rules whose hosts hold r's host and whose
// paths share a path with r's. It never looks at unrelated hosts.
func (t *Table) checkAmbiguity(r *rule) error {
	if r.Method == "CONNECT" {
		return nil // of tunnels the most powerful class counts, whatever the score
	}
	var found *rule
	t.covering(r.host, func(b *bucket) {
		b.paths.overlapping(r.path, func(o *rule) {
			if o != r && r.clashes(o) && (found == nil || o.Source < found.Source) {
				found = o
			}
		})
	})
	if found == nil {
		return nil
	}
	pair := []*rule{r, found}
	slices.SortFunc(pair, func(a, b *rule) int { return strings.Compare(a.Source, b.Source) })
	return fault.New(ambiguousRules, fmt.Sprintf("%s (%s) and %s (%s) match the same calls with the same score, %d",
		pair[0].Source, describe(pair[0]), pair[1].Source, describe(pair[1]), r.score), fixOf(ambiguousRules))
}

// clashes is asked only of rules whose host and path overlap.
func (c *rule) clashes(d *rule) bool {
	methods := c.Method == "" || d.Method == "" || c.Method == d.Method
	return methods && c.score == d.score && !contradict(c.pairs, d.pairs) && !c.within(d) && !d.within(c)
}

// covering visits the buckets of h's own pattern and of every pattern that holds
// it.
func (t *Table) covering(h hostPattern, visit func(*bucket)) {
	if h.kind == exactHost {
		t.match(h.key, h.name, visit)
		return
	}
	if h.kind == oneLabel {
		t.visit(oneLabel, h.key, visit)
	}
	if h.kind != everyHost {
		t.visit(anyDepth, h.key, visit)
		t.suffixes(h.key, visit)
	}
	t.visit(everyHost, h.key[len(h.name):], visit)
}

// match visits the buckets whose pattern matches a host. key is its HostKey and
// name the same without the port. An address meets no wildcard: parseHost refuses
// those whose remainder looks like one.
func (t *Table) match(key, name string, visit func(*bucket)) {
	t.visit(exactHost, key, visit)
	if i := strings.IndexByte(key, '.'); i >= 0 {
		t.visit(oneLabel, key[i+1:], visit)
	}
	t.suffixes(key, visit)
	t.visit(everyHost, portOf(key, name), visit)
}

// suffixes visits the patterns of any depth that end in what follows each dot.
func (t *Table) suffixes(key string, visit func(*bucket)) {
	for i := strings.IndexByte(key, '.'); i >= 0; {
		key = key[i+1:]
		t.visit(anyDepth, key, visit)
		i = strings.IndexByte(key, '.')
	}
}

func (t *Table) visit(k hostKind, key string, visit func(*bucket)) {
	if b := t.hosts[k][key]; b != nil {
		visit(b)
	}
}

// portOf returns the ":port" at the end of a key, or "".
func portOf(key, name string) string {
	if len(key) == len(name) {
		return ""
	}
	return key[strings.LastIndexByte(key, ':'):]
}

// Routable reports whether some rule, for whatever port, covers a host name. The
// resolver answers only such names. A rule for host "*" covers every name.
// Addresses are no names.
func (t *Table) Routable(host string) bool {
	host, addr, err := intent.CanonicalHost(host)
	return err == nil && !addr.IsValid() && covered(&t.names, host)
}

// TellsApart reports whether rules, for whatever port, give calls to a canonical
// host a class by method, path or query: by what only shows when its connections
// are looked into.
func (t *Table) TellsApart(host string) bool { return covered(&t.apart, host) }

func (c *rule) tellsApart() bool {
	return c.Method != "CONNECT" && (c.Method != "" || !c.path.everything() || len(c.pairs) > 0)
}

func covered(names *[exactHost + 1]map[string]bool, host string) bool {
	if names[exactHost][host] || len(names[everyHost]) > 0 {
		return true
	}
	for first, s := true, host; ; first = false {
		i := strings.IndexByte(s, '.')
		if i < 0 {
			return false
		}
		s = s[i+1:]
		if first && names[oneLabel][s] || names[anyDepth][s] {
			return true
		}
	}
}

// Literals returns the addresses that rules name as their hosts.
func (t *Table) Literals() []netip.Addr {
	var out []netip.Addr
	for name := range t.names[exactHost] {
		if _, addr, err := intent.CanonicalHost(name); err == nil && addr.IsValid() {
			out = append(out, addr)
		}
	}
	return out
}
