package localexec_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firma/internal/localexec"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const ttl = 5 * time.Minute

func issue(t *testing.T, b *localexec.Book, r localexec.Request) string {
	t.Helper()
	id, err := b.Issue(localexec.BindingOf(&r), t0, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTokenAllowsOnce(t *testing.T) {
	var b localexec.Book
	r := command()
	id := issue(t, &b, r)
	steps := []struct {
		what string
		got  any
		want any
	}{
		{"before approval", decision(&b, id, r, t0), localexec.Pending},
		{"approve", approve(&b, id, t0), localexec.OK},
		{"approve again", approve(&b, id, t0), localexec.OK},
		{"use", decision(&b, id, r, t0), localexec.Allow},
		{"use again", decision(&b, id, r, t0), localexec.Deny},
		{"approve the used one", approve(&b, id, t0), localexec.AlreadyConsumed},
		{"revoke the used one", revoke(&b, id, t0), localexec.AlreadyConsumed},
		{"use once more", decision(&b, id, r, t0), localexec.Deny},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: %v, want %v", s.what, s.got, s.want)
		}
	}
}

func approve(b *localexec.Book, id string, now time.Time) localexec.Result {
	got, _ := b.Approve(id, now)
	return got
}

func revoke(b *localexec.Book, id string, now time.Time) localexec.Result {
	got, _ := b.Revoke(id, now)
	return got
}

func decision(b *localexec.Book, id string, r localexec.Request, now time.Time) localexec.Decision {
	d, _ := b.Redeem(id, localexec.BindingOf(&r), now)
	return d
}

// TestTokenIsBound: an approved token is worth nothing for any other command, and
// trying does not use it up.
func TestTokenIsBound(t *testing.T) {
	for name, change := range map[string]func(*localexec.Request){
		"executable":        func(r *localexec.Request) { r.Executable = "/usr/bin/gitk" },
		"an argument":       func(r *localexec.Request) { r.Args = []string{"push", "--force-all"} },
		"fewer arguments":   func(r *localexec.Request) { r.Args = r.Args[:1] },
		"joined arguments":  func(r *localexec.Request) { r.Args = []string{"push --force"} },
		"order":             func(r *localexec.Request) { r.Args = []string{"--force", "push"} },
		"name":              func(r *localexec.Request) { r.InvokedAs = "other" },
		"session":           func(r *localexec.Request) { r.SessionID = "s-2" },
		"sandbox":           func(r *localexec.Request) { r.SandboxID = "sbx_2" },
		"agent":             func(r *localexec.Request) { r.AgentID = "agt_2" },
		"no agent":          func(r *localexec.Request) { r.AgentID = "" },
		"shifted by a word": func(r *localexec.Request) { r.Args = []string{"push"}; r.SessionID = "--force"; r.SandboxID = "s-1" },
	} {
		var b localexec.Book
		r, other := command(), command()
		change(&other)
		other.Fingerprint = localexec.FingerprintOf(&r) // a claim, which nobody believes
		id := issue(t, &b, r)
		approve(&b, id, t0)
		if d := decision(&b, id, other, t0); d != localexec.Deny {
			t.Errorf("%s: %s", name, d)
		}
		if d := decision(&b, id, r, t0); d != localexec.Allow {
			t.Errorf("%s: its own command afterwards: %s", name, d)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	r := command()
	last := t0.Add(ttl)
	for _, approved := range []bool{false, true} {
		var b localexec.Book
		id := issue(t, &b, r)
		if approved {
			approve(&b, id, t0)
		}
		if d := decision(&b, id, r, last); d != localexec.Deny {
			t.Errorf("approved %v, at its end: %s", approved, d)
		}
		if got := approve(&b, id, last); got != localexec.TokenExpired {
			t.Errorf("approve: %s", got)
		}
		if got := revoke(&b, id, last); got != localexec.TokenExpired {
			t.Errorf("revoke: %s", got)
		}
		// A clock that goes back does not bring it to life again.
		if d := decision(&b, id, r, t0); d != localexec.Deny {
			t.Errorf("approved %v, back in time: %s", approved, d)
		}
	}
	var b localexec.Book
	id := issue(t, &b, r)
	approve(&b, id, t0)
	if d := decision(&b, id, r, last.Add(-1)); d != localexec.Allow {
		t.Errorf("in its last nanosecond: %s", d)
	}
}

func TestBookIsBounded(t *testing.T) {
	var b localexec.Book
	var first string
	for i := range localexec.MaxApprovals {
		if id := issue(t, &b, command()); i == 0 {
			first = id
		}
	}
	r := command()
	if _, err := b.Issue(localexec.BindingOf(&r), t0, ttl); err != localexec.ErrBookFull {
		t.Fatalf("%v", err)
	}
	if d := decision(&b, first, r, t0); d != localexec.Pending {
		t.Errorf("a full book forgot a token that waits: %s", d)
	}
	revoke(&b, first, t0)
	if _, err := b.Issue(localexec.BindingOf(&r), t0, ttl); err != nil {
		t.Errorf("one is over: %v", err)
	}
	if _, err := b.Issue(localexec.BindingOf(&r), t0.Add(ttl), ttl); err != nil {
		t.Errorf("all have expired: %v", err)
	}
	if got := approve(&b, "apr_none", t0); got != localexec.NotFound {
		t.Errorf("no token: %s", got)
	}
	if d := decision(&b, "", r, t0); d != localexec.Deny {
		t.Errorf("no token: %s", d)
	}
}

// TestBookLaws plays random histories. The laws are said over the history, not
// over states: a token allows at most once, only after an approval, never after a
// revocation or its time, and only its own command.
func TestBookLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b localexec.Book
		now := t0
		type past struct {
			command           int
			made              time.Time
			approved, revoked bool
			allowed           int
		}
		history := map[string]*past{}
		var known []string
		of := func(i int) localexec.Request {
			r := command()
			r.Args = []string{fmt.Sprint(i)}
			return r
		}
		pick := func(t *rapid.T) string { return rapid.SampledFrom(append(known, "apr_none")).Draw(t, "id") }
		live := func(p *past) bool { return now.Before(p.made.Add(ttl)) }
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "s")) * time.Second) },
			"issue": func(t *rapid.T) {
				c := rapid.IntRange(0, 2).Draw(t, "command")
				r := of(c)
				id, err := b.Issue(localexec.BindingOf(&r), now, ttl)
				if err != nil || history[id] != nil {
					t.Fatalf("%q, %v", id, err)
				}
				history[id], known = &past{command: c, made: now}, append(known, id)
			},
			"approve": func(t *rapid.T) {
				id := pick(t)
				p := history[id]
				ok := p != nil && live(p) && !p.revoked && p.allowed == 0
				if got := approve(&b, id, now); (got == localexec.OK) != ok {
					t.Fatalf("approve %s: %s", id, got)
				}
				if ok {
					p.approved = true
				}
			},
			"revoke": func(t *rapid.T) {
				id := pick(t)
				p := history[id]
				ok := p != nil && live(p) && !p.revoked && p.allowed == 0
				if got := revoke(&b, id, now); (got == localexec.OK) != ok {
					t.Fatalf("revoke %s: %s", id, got)
				}
				if ok {
					p.revoked = true
				}
			},
			"redeem": func(t *rapid.T) {
				id, c := pick(t), rapid.IntRange(0, 2).Draw(t, "command")
				p := history[id]
				want := localexec.Deny
				if p != nil && p.command == c && live(p) && !p.revoked && p.allowed == 0 {
					want = localexec.Pending
					if p.approved {
						want = localexec.Allow
						p.allowed++
					}
				}
				if got := decision(&b, id, of(c), now); got != want {
					t.Fatalf("%s with command %d: %s, want %s", id, c, got, want)
				}
			},
		})
	})
}

func TestConcurrentUseAllowsOnce(t *testing.T) {
	var b localexec.Book
	r := command()
	id := issue(t, &b, r)
	approve(&b, id, t0)
	got := make(chan localexec.Decision)
	const n = 16
	for range n {
		go func() { got <- decision(&b, id, r, t0) }()
	}
	allowed := 0
	for range n {
		if <-got == localexec.Allow {
			allowed++
		}
	}
	if allowed != 1 {
		t.Errorf("%d were allowed", allowed)
	}
}
