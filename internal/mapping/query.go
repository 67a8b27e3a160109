package mapping

import (
	"slices"
	"strings"

	"firma/internal/intent"
)

// fit is how a condition sees a query. Servers differ on repeated names, on ";"
// as a separator, on "+" and on the case of names; where that changes the answer
// it is maybe.
type fit uint8

const (
	no fit = iota
	maybe
	yes
)

// pair is one condition on the query, decoded.
type pair struct{ name, value string }

func sortedPairs(query map[string]string) []pair {
	if len(query) == 0 {
		return nil
	}
	pairs := make([]pair, 0, len(query))
	for k, v := range query {
		pairs = append(pairs, pair{k, v})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return pairs
}

// fitQuery reports whether a canonical query holds every pair.
func fitQuery(pairs []pair, query string) fit {
	worst := yes
	for _, p := range pairs {
		f := p.fit(query, "&")
		if strings.IndexByte(query, ';') >= 0 && p.fit(query, "&;") != f {
			f = maybe
		}
		worst = min(worst, f)
	}
	return worst
}

func (p pair) fit(query, separators string) fit {
	found, value := 0, no
	for query != "" {
		var item string
		item, query = cutAny(query, separators)
		name, v, _ := strings.Cut(item, "=")
		space, plus := equalDecoded(name, p.name, ' ', true), equalDecoded(name, p.name, '+', true)
		if !space && !plus {
			continue
		}
		found++
		value = p.fitValue(v)
		if !space || !plus || !equalDecoded(name, p.name, ' ', false) {
			value = maybe
		}
	}
	switch found {
	case 0:
		return no
	case 1:
		return value
	}
	return maybe
}

func (p pair) fitValue(v string) fit {
	space, plus := equalDecoded(v, p.value, ' ', false), equalDecoded(v, p.value, '+', false)
	switch {
	case space && plus:
		return yes
	case space || plus:
		return maybe
	}
	return no
}

func cutAny(s, separators string) (before, after string) {
	if i := strings.IndexAny(s, separators); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// contradict reports that no query, read in one way, can fit both.
func contradict(a, b []pair) bool {
	for _, p := range a {
		for _, q := range b {
			if p.name == q.name && p.value != q.value {
				return true
			}
		}
	}
	return false
}

// holds reports that every pair of b is in a.
func holds(a, b []pair) bool {
	for _, q := range b {
		if !slices.Contains(a, q) {
			return false
		}
	}
	return true
}

// methodsInQuery appends the methods that the query asks a server to run instead
// of the request's own: "_method", "_HttpMethod" and, as in a header,
// "X-HTTP-Method-Override" are read so by common web frameworks. Values that are no
// method are ordinary parameters.
func methodsInQuery(methods []string, query string) []string {
	for query != "" {
		var item string
		item, query = cutAny(query, "&;")
		name, v, _ := strings.Cut(item, "=")
		if !equalDecoded(name, "_method", ' ', true) && !equalDecoded(name, "_httpmethod", ' ', true) && !equalDecoded(name, "x-http-method-override", ' ', true) {
			continue
		}
		if m := strings.ToUpper(decode(v)); intent.KnownMethod(m) && !slices.Contains(methods, m) {
			methods = append(methods, m)
		}
	}
	return methods
}
