package capability

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firma/internal/action"
	"firma/internal/intent"
	"firma/internal/verdict"
)

func token(id, session, scope string, actions ...string) *Token {
	return &Token{Claims: Claims{TokenID: id, AgentID: "a", SessionID: session, ResourceScope: scope, ActionSet: actions,
		IssuedAt: noon, Expiry: noon.Add(15 * time.Minute)}}
}

func with(t *Token, change func(*Claims)) *Token {
	change(&t.Claims)
	return t
}

func nothingRevoked(string) bool { return false }

func TestSelect(t *testing.T) {
	later := func(c *Claims) { c.IssuedAt = c.IssuedAt.Add(time.Minute) }
	old := func(c *Claims) { c.Expiry = noon }
	call := get(t, "http://api.x.com/v1/a")
	tests := []struct {
		name   string
		tokens []*Token
		revoke string
		want   string         // token id
		reason verdict.Reason // when want is ""
	}{
		{"no token", nil, "", "", verdict.CapabilityNotFound},
		{"it fits", []*Token{token("1", "s1", "*", "code.read")}, "", "1", ""},
		{"another session's", []*Token{token("1", "s2", "*", "code.read")}, "", "", verdict.CapabilityNotFound},
		{"another class", []*Token{token("1", "s1", "*", "code.write")}, "", "", verdict.CapabilityNotFound},
		{"another resource", []*Token{token("1", "s1", "api.y.com", "code.read")}, "", "", verdict.CapabilityScopeMismatch},
		{"expired", []*Token{with(token("1", "s1", "*", "code.read"), old)}, "", "", verdict.CapabilityExpired},
		{"revoked", []*Token{token("1", "s1", "*", "code.read")}, "1", "", verdict.CapabilityRevoked},
		{"expired and revoked", []*Token{with(token("1", "s1", "*", "code.read"), old)}, "1", "", verdict.CapabilityRevoked},
		{"expired and elsewhere", []*Token{with(token("1", "s1", "api.y.com", "code.read"), old)}, "", "", verdict.CapabilityScopeMismatch},
		{"revoked before expired", []*Token{with(token("1", "s1", "api.x.com", "code.read"), old), token("2", "s1", "*", "*")}, "2", "", verdict.CapabilityRevoked},
		{"expired before elsewhere", []*Token{with(token("1", "s1", "*", "*"), old), token("2", "s1", "api.y.com", "code.read")}, "", "", verdict.CapabilityExpired},
		{"elsewhere before not found", []*Token{token("1", "s1", "api.y.com", "*"), token("2", "s1", "*", "code.write")}, "", "", verdict.CapabilityScopeMismatch},
		{"usable beats a better one that is revoked", []*Token{token("1", "s1", "api.x.com/v1", "code.read"), token("2", "s1", "*", "*")}, "1", "2", ""},
		{"usable beats a better one that expired", []*Token{with(token("1", "s1", "api.x.com", "code.read"), old), token("2", "s1", "*", "*")}, "", "2", ""},
		{"the class before every class", []*Token{token("1", "s1", "api.x.com/v1", "*"), token("2", "s1", "*", "code.read", "code.write")}, "", "2", ""},
		{"a scope before no scope", []*Token{token("1", "s1", "*", "code.read"), token("2", "s1", "api.x.com", "code.read", "code.write")}, "", "2", ""},
		{"fewer actions", []*Token{token("1", "s1", "api.x.com/v1", "code.read", "code.write"), token("2", "s1", "*.x.com", "code.read")}, "", "2", ""},
		{"path before host", []*Token{token("1", "s1", "api.x.com", "code.read"), token("2", "s1", "api.x.com/v1", "code.read")}, "", "2", ""},
		{"longer path", []*Token{token("1", "s1", "api.x.com/v1", "code.read"), token("2", "s1", "api.x.com/v1/a", "code.read")}, "", "2", ""},
		{"host before wildcard", []*Token{token("1", "s1", "*.x.com", "code.read"), token("2", "s1", "api.x.com", "code.read")}, "", "2", ""},
		{"newest", []*Token{token("1", "s1", "*", "code.read"), with(token("2", "s1", "*", "code.read"), later)}, "", "2", ""},
		{"id at last", []*Token{token("2", "s1", "*", "code.read"), token("1", "s1", "*", "code.read")}, "", "1", ""},
		{"class and every class in one token", []*Token{token("1", "s1", "*", "*", "code.read"), token("2", "s1", "*", "*")}, "", "1", ""},
		{"a scope that does not parse", []*Token{token("1", "s1", "api.x.com*", "code.read")}, "", "", verdict.CapabilityScopeMismatch},
		{"nil tokens", []*Token{nil, token("1", "s1", "*", "code.read"), nil}, "", "1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // in both orders
				slices.Reverse(tt.tokens)
				got, err := NewSet(tt.tokens...).Select("s1", "code.read", call, noon, 0, func(id string) bool { return id == tt.revoke })
				switch {
				case (got == nil) == (err == nil):
					t.Fatalf("Select = %v, %v", got, err)
				case got != nil && got.TokenID != tt.want:
					t.Errorf("selected %s, want %q", got.TokenID, tt.want)
				case err != nil && (tt.want != "" || err.Reason != tt.reason || err.Detail == ""):
					t.Errorf("refused with %v, want %q %s", err, tt.want, tt.reason)
				}
			}
		})
	}
}

func TestSelectFailsClosed(t *testing.T) {
	set := NewSet(token("1", "s1", "*", "*"), token("2", "", "*", "*"))
	call := get(t, "http://api.x.com/")
	tests := []struct {
		name    string
		set     *Set
		session string
		class   action.Class
		call    *intent.Call
		revoked func(string) bool
		want    verdict.Reason
	}{
		{"nil set", nil, "s1", "code.read", call, nothingRevoked, verdict.CapabilityNotFound},
		{"zero set", &Set{}, "s1", "code.read", call, nothingRevoked, verdict.CapabilityNotFound},
		{"no class", set, "s1", "", call, nothingRevoked, verdict.CapabilityNotFound},
		{"the wildcard as the class", set, "s1", "*", call, nothingRevoked, verdict.CapabilityNotFound},
		{"no call", set, "s1", "code.read", nil, nothingRevoked, verdict.CapabilityScopeMismatch},
		{"zero call", set, "s1", "code.read", &intent.Call{}, nothingRevoked, verdict.CapabilityScopeMismatch},
		{"no revocation list", set, "s1", "code.read", call, nil, verdict.CapabilityRevoked},
	}
	for _, tt := range tests {
		if got, err := tt.set.Select(tt.session, tt.class, tt.call, noon, 0, tt.revoked); got != nil || err == nil || err.Reason != tt.want {
			t.Errorf("%s: %v, %v", tt.name, got, err)
		}
	}
	if _, err := set.Select("s1", "code.read", call, noon, 0, nothingRevoked); err != nil {
		t.Errorf("the set of this test: %v", err)
	}
}

func TestSelectSkew(t *testing.T) {
	set := NewSet(token("1", "s1", "*", "code.read"))
	call := get(t, "http://api.x.com/")
	expiry := noon.Add(15 * time.Minute)
	for _, tt := range []struct {
		now  time.Time
		skew time.Duration
		want bool
	}{
		{expiry.Add(-time.Nanosecond), 0, true}, {expiry, 0, false}, {expiry, time.Second, true},
		{expiry.Add(time.Second), time.Second, false}, {expiry.Add(-time.Nanosecond), -time.Hour, true},
	} {
		if _, err := set.Select("s1", "code.read", call, tt.now, tt.skew, nothingRevoked); (err == nil) != tt.want {
			t.Errorf("at %s with %s: %v", tt.now, tt.skew, err)
		}
	}
}

// TestSelectIsTheContractsScore compares with the contract's score, computed for
// each token of the set by itself.
func TestSelectIsTheContractsScore(t *testing.T) {
	classes := []string{"code.read", "code.write", "issue.read", "*"}
	scopes := []string{"*", "*.x.com", "api.x.com", "api.x.com/v1", "api.x.com/v1/a", "api.x.com:8080", "api.y.com"}
	calls := []*intent.Call{get(t, "http://api.x.com/v1/a/b"), get(t, "http://api.x.com/v1alpha"), get(t, "http://api.x.com:8080/"), connect(t, "api.x.com:443"), connect(t, "z.com:22")}
	rapid.Check(t, func(t *rapid.T) {
		var tokens []*Token
		for i := range rapid.IntRange(0, 12).Draw(t, "tokens") {
			actions := rapid.SliceOfNDistinct(rapid.SampledFrom(classes), 1, 3, rapid.ID[string]).Draw(t, "actions")
			tok := token(fmt.Sprint(i), rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session"), rapid.SampledFrom(scopes).Draw(t, "scope"), actions...)
			tok.IssuedAt = noon.Add(-time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Minute)
			tok.Expiry = noon.Add(time.Duration(rapid.IntRange(-1, 3).Draw(t, "life")) * time.Minute)
			tokens = append(tokens, tok)
		}
		bad := rapid.SampledFrom([]string{"0", "1", "2", ""}).Draw(t, "revoked")
		revoked := func(id string) bool { return id == bad }
		class, call := action.Class(rapid.SampledFrom(classes[:3]).Draw(t, "class")), rapid.SampledFrom(calls).Draw(t, "call")
		want, reason := reference(tokens, "s1", class, call, revoked)
		got, err := NewSet(tokens...).Select("s1", class, call, noon, 0, revoked)
		if got != want {
			t.Fatalf("selected %+v, want %+v", got, want)
		}
		if err != nil && err.Reason != reason {
			t.Fatalf("refused with %s, want %s", err.Reason, reason)
		}
	})
}

// reference is wire.md, section 3, read literally: a linear search for the
// highest score and then the tie-breaks.
func reference(tokens []*Token, session string, class action.Class, call *intent.Call, revoked func(string) bool) (*Token, verdict.Reason) {
	var best *Token
	why := map[verdict.Reason]bool{}
	for _, tok := range tokens {
		s, _ := ParseScope(tok.ResourceScope)
		switch {
		case tok.SessionID != session || classScore(tok, class) == 0:
		case !s.Covers(call):
			why[verdict.CapabilityScopeMismatch] = true
		case revoked(tok.TokenID):
			why[verdict.CapabilityRevoked] = true
		case !noon.Before(tok.Expiry):
			why[verdict.CapabilityExpired] = true
		case best == nil || score(tok, class) > score(best, class) || score(tok, class) == score(best, class) && tie(tok, best) < 0:
			best = tok
		}
	}
	for _, r := range []verdict.Reason{verdict.CapabilityRevoked, verdict.CapabilityExpired, verdict.CapabilityScopeMismatch} {
		if why[r] {
			return best, r
		}
	}
	return best, verdict.CapabilityNotFound
}

func classScore(t *Token, class action.Class) int {
	switch {
	case slices.Contains(t.ActionSet, string(class)):
		return 100
	case slices.Contains(t.ActionSet, "*"):
		return 10
	}
	return 0
}

func score(t *Token, class action.Class) int {
	if t.ResourceScope == "*" {
		return classScore(t, class) + 1
	}
	return classScore(t, class) + 50
}

func tie(a, b *Token) int {
	width := map[string]int{"*": 0, "*.x.com": 1, "api.x.com": 2, "api.x.com:8080": 2, "api.y.com": 2, "api.x.com/v1": 3, "api.x.com/v1/a": 4}
	return cmp.Or(
		cmp.Compare(len(a.ActionSet), len(b.ActionSet)),
		cmp.Compare(width[b.ResourceScope], width[a.ResourceScope]),
		b.IssuedAt.Compare(a.IssuedAt),
		cmp.Compare(a.TokenID, b.TokenID),
	)
}

func TestSelectDoesNotAllocate(t *testing.T) {
	set := manyTokens(100)
	call := get(t, "http://api.x.com/v1/a")
	if n := testing.AllocsPerRun(100, func() {
		if tok, _ := set.Select("session-42", "code.read", call, noon, 0, nothingRevoked); tok == nil {
			t.Fatal("no token")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSelectConcurrently(t *testing.T) {
	set := manyTokens(10)
	call := get(t, "http://api.x.com/v1/a")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if _, err := set.Select(fmt.Sprintf("session-%d", i), "code.read", call, noon, 0, nothingRevoked); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSetLen(t *testing.T) {
	var none *Set
	if none.Len() != 0 || (&Set{}).Len() != 0 || NewSet(nil, token("1", "s", "*", "*", "code.read")).Len() != 1 {
		t.Error("Len")
	}
}

func manyTokens(n int) *Set {
	var tokens []*Token
	for i := range n {
		var actions []string
		for _, c := range action.All() {
			actions = append(actions, string(c))
		}
		tokens = append(tokens, token(fmt.Sprint(i), fmt.Sprintf("session-%d", i), "*", actions...))
	}
	return NewSet(tokens...)
}

func BenchmarkSelect(b *testing.B) {
	set := manyTokens(1000)
	call := get(b, "http://api.x.com/v1/a")
	b.ReportAllocs()
	for b.Loop() {
		if tok, _ := set.Select("session-42", "code.read", call, noon, 0, nothingRevoked); tok == nil {
			b.Fatal("no token")
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	raw, err := Sign(key, claims())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Verify(pub, raw, noon, 0); err != nil {
			b.Fatal(err)
		}
	}
}
