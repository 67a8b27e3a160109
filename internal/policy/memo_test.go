package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestRememberedEqualsDecided holds what is remembered against a decision of its
// own for every request.
func TestRememberedEqualsDecided(t *testing.T) {
	m, err := modelFor([]byte(groupedSchema))
	if err != nil {
		t.Fatal(err)
	}
	var asked, kept, bypassed int
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "policies") {
			text.WriteString(genPolicy(t, wild))
		}
		rules, problems := parse([]byte(text.String()))
		if len(problems) > 0 {
			t.Fatalf("%s\n%v", text.String(), problems)
		}
		b := build("v", m, rules)
		for range 40 {
			r := genRequest(t)
			target := b.classes[r.Class]
			asked++
			if target.reads.context&passing != 0 {
				bypassed++
			}
			want := b.byCount(&r, target, b.decide(&r, target))
			for range 2 {
				if diff := cmp.Diff(want, b.Evaluate(r)); diff != "" {
					t.Fatalf("(-decided +remembered)\n%s\nrequest %+v\n%s", diff, r, text.String())
				}
			}
		}
		kept += len(b.memo.answers)
	})
	if kept == 0 || kept >= asked-bypassed || bypassed == 0 {
		t.Errorf("%d asked, %d kept, %d not to be remembered: the test proves too little", asked, kept, bypassed)
	}
}

func TestMemoIsBounded(t *testing.T) {
	b := mustCompile(t, permitAll)
	r := request()
	for i := range 3 * maxMemo {
		r.Path = fmt.Sprint("/", i)
		b.Evaluate(r)
		if n := len(b.memo.answers); n > maxMemo {
			t.Fatalf("%d answers are kept", n)
		}
	}
	before := len(b.memo.answers)
	r.Path = "/" + strings.Repeat("x", maxMemoKey)
	if res := b.Evaluate(r); !res.Outcome.Dispatches() {
		t.Errorf("%+v", res)
	}
	if len(b.memo.answers) != before {
		t.Error("a question longer than maxMemoKey is remembered")
	}
}

// Values that are written after one another must not run into each other.
func TestQuestionsAreApart(t *testing.T) {
	var a, b question
	a.request, b.request = request(), request()
	a.request.Host, a.request.Path = "ab", "c"
	b.request.Host, b.request.Path = "a", "bc"
	a.ask(allContext)
	b.ask(allContext)
	if string(a.key) == string(b.key) {
		t.Error("two questions have one key")
	}
}
