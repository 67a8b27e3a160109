package mapping_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/intent"
	"firma/internal/mapping"
)

// The oracle states what rules mean in the simplest way there is: every rule
// against every call, and sets of hosts, methods, paths and queries written out.

var (
	allHosts   = []string{"test", "a.test", "b.a.test", "c.b.a.test", "c.test", "d.c.test", "a.test:8443", "b.a.test:8443", "c.test:8443", "10.0.0.1", "10.0.0.1:8443"}
	allMethods = []string{"GET", "POST", "DELETE"}
	allPaths   = paths(4)
	allQueries = queries()
	allClasses = []action.Class{"code.read", "code.write", "system.install", "code.merge", "repo.admin", "issue.write"}
)

func paths(depth int) []string {
	out, last := []string{"/"}, []string{""}
	for range depth {
		var next []string
		for _, p := range last {
			for _, s := range []string{"a", "b", "z"} {
				next = append(next, p+"/"+s)
			}
		}
		out, last = append(out, next...), next
	}
	return out
}

// queries holds every combination of x and y that conditions can tell apart.
func queries() []map[string]string {
	var out []map[string]string
	for _, x := range []string{"-", "1", "2", "9"} {
		for _, y := range []string{"-", "1", "9"} {
			q := map[string]string{}
			if x != "-" {
				q["x"] = x
			}
			if y != "-" {
				q["y"] = y
			}
			out = append(out, q)
		}
	}
	return out
}

func refHost(pattern, key string) bool {
	pattern, pport, _ := strings.Cut(pattern, ":")
	host, port, _ := strings.Cut(key, ":")
	if pport != port {
		return false
	}
	if pattern == "*" || pattern == host {
		return true
	}
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	if host == "10.0.0.1" || p[0] == "*" && len(h) != len(p) || p[0] == "**" && len(h) < len(p) {
		return false
	}
	return strings.HasPrefix(p[0], "*") && slices.Equal(p[1:], h[len(h)-len(p)+1:])
}

func refPath(pattern, path string) bool {
	if pattern == "" {
		return true
	}
	p, s := segments(pattern), segments(path)
	for i, seg := range p {
		switch {
		case seg == "**":
			return true
		case i == len(s) || seg != "*" && seg != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func refScore(r mapping.Rule) int {
	score := 0
	if !strings.Contains(r.Host, "*") {
		score += 100
	}
	if r.Method != "" {
		score += 10
	}
	if r.Path != "" {
		score += 5
		for _, s := range segments(r.Path) {
			if s != "**" {
				score++
			}
		}
		if !strings.Contains(r.Path, "*") {
			score += 10
		}
	}
	return score
}

// sets are the values that a rule matches, one list for each dimension.
func sets(r mapping.Rule) [4][]bool {
	var out [4][]bool
	for _, h := range allHosts {
		out[0] = append(out[0], refHost(r.Host, h))
	}
	for _, m := range allMethods {
		out[1] = append(out[1], r.Method == "" || r.Method == m)
	}
	for _, p := range allPaths {
		out[2] = append(out[2], refPath(r.Path, p))
	}
	for _, q := range allQueries {
		fits := true
		for k, v := range r.Query {
			got, ok := q[k]
			fits = fits && ok && got == v
		}
		out[3] = append(out[3], fits)
	}
	return out
}

// narrower reports that a matches only what b matches too.
func narrower(a, b mapping.Rule) bool {
	sa, sb := sets(a), sets(b)
	for d := range sa {
		for i := range sa[d] {
			if sa[d][i] && !sb[d][i] {
				return false
			}
		}
	}
	return true
}

func overlap(a, b mapping.Rule) bool {
	sa, sb := sets(a), sets(b)
	for d := range sa {
		shared := false
		for i := range sa[d] {
			shared = shared || sa[d][i] && sb[d][i]
		}
		if !shared {
			return false
		}
	}
	return true
}

func refAmbiguous(rules []mapping.Rule) bool {
	for i, a := range rules {
		for _, b := range rules[:i] {
			if a.Method != "CONNECT" && b.Method != "CONNECT" && refScore(a) == refScore(b) && overlap(a, b) && !narrower(a, b) && !narrower(b, a) {
				return true
			}
		}
	}
	return false
}

// refQuery says whether a condition holds under every way of reading a query (yes),
// under none (no), or under some (maybe).
func refQuery(conditions map[string]string, query string) string {
	result := "yes"
	for k, v := range conditions {
		var answers []string
		for _, separators := range []string{"&", "&;"} {
			var same, folded []string
			for _, item := range strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
				name, value, _ := strings.Cut(item, "=")
				if name == k {
					same = append(same, value)
				} else if strings.EqualFold(name, k) {
					folded = append(folded, value)
				}
			}
			switch {
			case len(same)+len(folded) == 0:
				answers = append(answers, "no")
			case len(same)+len(folded) > 1 || len(folded) > 0:
				answers = append(answers, "maybe")
			case same[0] == v:
				answers = append(answers, "yes")
			default:
				answers = append(answers, "no")
			}
		}
		switch {
		case answers[0] != answers[1] || answers[0] == "maybe":
			if result == "yes" {
				result = "maybe"
			}
		case answers[0] == "no":
			result = "no"
		}
	}
	return result
}

// refRequest tries every combination of unsure conditions.
func refRequest(rules []mapping.Rule, key, method, path, query string) (action.Class, mapping.Coverage) {
	var sure, unsure []mapping.Rule
	for _, r := range rules {
		if !refHost(r.Host, key) || r.Method != "" && r.Method != method || !refPath(r.Path, path) {
			continue
		}
		switch refQuery(r.Query, query) {
		case "yes":
			sure = append(sure, r)
		case "maybe":
			unsure = append(unsure, r)
		}
	}
	var worst action.Class
	none := 0
	for subset := range 1 << len(unsure) {
		candidates := slices.Clone(sure)
		for i, r := range unsure {
			if subset>>i&1 == 1 {
				candidates = append(candidates, r)
			}
		}
		if len(candidates) == 0 {
			none++
		} else if w := refWinner(candidates).ActionClass; worst == "" || action.Compare(w, worst) > 0 {
			worst = w
		}
	}
	switch {
	case none == 0:
		return worst, mapping.Mapped
	case none == 1<<len(unsure):
		return "", mapping.Unmapped
	}
	return "", mapping.Refused
}

func refWinner(candidates []mapping.Rule) mapping.Rule {
	best := candidates[0]
	for _, r := range candidates[1:] {
		if refScore(r) > refScore(best) || refScore(r) == refScore(best) && narrower(r, best) {
			best = r
		}
	}
	return best
}

func refTunnel(rules []mapping.Rule, key string) (action.Class, mapping.Coverage) {
	var worst *mapping.Rule
	admitted := false
	for _, r := range rules {
		if !refHost(r.Host, key) {
			continue
		}
		admitted = admitted || r.Method == "CONNECT" || r.Method == "" && (r.Path == "" || r.Path == "/**") && len(r.Query) == 0
		if worst == nil || refStronger(r, *worst) {
			worst = &r
		}
	}
	if !admitted {
		return "", mapping.Unmapped
	}
	return worst.ActionClass, mapping.Mapped
}

func refStronger(a, b mapping.Rule) bool {
	ra, rb := action.RiskOf(a.ActionClass), action.RiskOf(b.ActionClass)
	if ra != rb {
		return ra > rb
	}
	if (a.Method == "CONNECT") != (b.Method == "CONNECT") {
		return a.Method == "CONNECT"
	}
	return action.Compare(a.ActionClass, b.ActionClass) > 0
}

// drawRule draws from few hosts at a time, so that rules meet.
func drawRule(t *rapid.T, hosts []string) mapping.Rule {
	r := mapping.Rule{
		Method:      rapid.SampledFrom([]string{"", "GET", "GET", "POST", "CONNECT"}).Draw(t, "method"),
		Host:        rapid.SampledFrom(hosts).Draw(t, "host"),
		ActionClass: rapid.SampledFrom(allClasses).Draw(t, "class"),
	}
	if r.Method == "CONNECT" {
		return r
	}
	segs := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 0, 3).Draw(t, "segments")
	switch rapid.IntRange(0, 3).Draw(t, "path") {
	case 1, 2:
		r.Path = "/" + strings.Join(segs, "/")
	case 3:
		r.Path = "/" + strings.Join(append(segs, "**"), "/")
	}
	r.Query = rapid.SampledFrom([]map[string]string{nil, nil, nil, {"x": "1"}, {"x": "2"}, {"y": "1"}, {"x": "1", "y": "1"}}).Draw(t, "query")
	return r
}

func drawRules(t *rapid.T) []mapping.Rule {
	hosts := rapid.SliceOfN(rapid.SampledFrom([]string{"a.test", "b.a.test", "*.a.test", "**.a.test", "*.test", "**.test", "*", "*:8443",
		"**.test:8443", "*.a.test:8443", "10.0.0.1", "a.test:8443"}), 1, 3).Draw(t, "hosts")
	one := rapid.Custom(func(t *rapid.T) mapping.Rule { return drawRule(t, hosts) })
	return rapid.SliceOfNDistinct(one, 0, 12, func(r mapping.Rule) string {
		return string(mapping.Format([]mapping.Rule{{Method: r.Method, Host: r.Host, Path: r.Path, Query: r.Query}}))
	}).Draw(t, "rules")
}

func TestNewTableRefusesExactlyTheAmbiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := drawRules(t)
		_, err := mapping.NewTable(rules)
		if want := refAmbiguous(rules); (err != nil) != want || want && fault.NameOf(err) != "AmbiguousRules" {
			t.Fatalf("NewTable: %v; by the oracle ambiguous: %v", err, want)
		}
	})
}

func TestMatchIsTheOracles(t *testing.T) {
	refused, mapped := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var rules []mapping.Rule
		for _, r := range drawRules(t) { // keep what fits together
			if !refAmbiguous(append(slices.Clone(rules), r)) {
				rules = append(rules, r)
			}
		}
		table, err := mapping.NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			c, want, coverage := drawCall(t, rules)
			r, got := table.Classify(&c)
			if got != coverage || r.ActionClass != want {
				t.Fatalf("%+v\nis %q, %v; by the oracle %q, %v", c, r.ActionClass, got, want, coverage)
			}
			if m, ok := table.Match(&c); ok != (got == mapping.Mapped) || m.ActionClass != r.ActionClass {
				t.Fatalf("Match and Classify differ: %v %v", ok, got)
			}
			switch got {
			case mapping.Refused:
				refused++
			case mapping.Mapped:
				mapped++
			}
		}
	})
	if refused == 0 || mapped == 0 {
		t.Errorf("the property saw %d refused and %d mapped calls", refused, mapped)
	}
}

func drawCall(t *rapid.T, rules []mapping.Rule) (intent.Call, action.Class, mapping.Coverage) {
	key := rapid.SampledFrom(allHosts).Draw(t, "host")
	method := rapid.SampledFrom([]string{"GET", "POST", "DELETE", "CONNECT"}).Draw(t, "method")
	if method == "CONNECT" {
		host, port, found := strings.Cut(key, ":")
		if !found {
			port = rapid.SampledFrom([]string{"443", "80"}).Draw(t, "port")
		}
		c, err := intent.FromAuthority(host + ":" + port)
		if err != nil {
			t.Fatal(err)
		}
		class, coverage := refTunnel(rules, key)
		return c, class, coverage
	}
	path := rapid.SampledFrom(allPaths).Draw(t, "path")
	slash := rapid.SampledFrom([]string{"", "/"}).Draw(t, "slash")
	query := rapid.SampledFrom([]string{"", "x=1", "x=2", "y=1", "x=1&y=1", "x=9&z=1", "x=1&x=2", "x=2;x=1", "y=1;x=1", "X=1", "x=1&x=1&y=1", "x=1&Y=1"}).Draw(t, "query")
	c, err := intent.FromAbsolute(method, "http://"+key+path+slash+"?"+query)
	if err != nil {
		t.Fatal(err)
	}
	class, coverage := refRequest(rules, key, method, path, query)
	if override := rapid.SampledFrom([]string{"", "", "GET", "POST"}).Draw(t, "override"); override != "" {
		if err := c.SetOverride(override); err != nil {
			t.Fatal(err)
		}
		class2, coverage2 := refRequest(rules, key, override, path, query)
		class, coverage = refEither(class, coverage, class2, coverage2)
	}
	return c, class, coverage
}

func refEither(a action.Class, ca mapping.Coverage, b action.Class, cb mapping.Coverage) (action.Class, mapping.Coverage) {
	if ca != cb || ca == mapping.Refused {
		return "", mapping.Refused
	}
	if action.Power(a) > action.Power(b) {
		return a, ca
	}
	return b, ca
}

func TestRoutableIsTheOracles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rules []mapping.Rule
		for _, r := range drawRules(t) {
			if !refAmbiguous(append(slices.Clone(rules), r)) {
				rules = append(rules, r)
			}
		}
		table, err := mapping.NewTable(rules)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"test", "a.test", "b.a.test", "c.b.a.test", "c.test", "other"} {
			want := false
			for _, r := range rules {
				pattern, _, _ := strings.Cut(r.Host, ":")
				want = want || refHost(pattern, name)
			}
			if got := table.Routable(name); got != want {
				t.Fatalf("Routable(%q) = %v with %+v", name, got, rules)
			}
		}
	})
}
