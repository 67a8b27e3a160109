package gitpush

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	one  = "1111111111111111111111111111111111111111"
	two  = "2222222222222222222222222222222222222222"
	none = "0000000000000000000000000000000000000000"
)

func pkt(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

func TestParse(t *testing.T) {
	caps := "\x00 report-status side-band-64k agent=git/2.39.5"
	for _, c := range []struct {
		name, body string
		want       []Update
	}{
		{"probe", "0000", nil},
		{"update", pkt(one+" "+two+" refs/heads/main"+caps) + "0000PACK", []Update{{Ref: "refs/heads/main"}}},
		{"line feed", pkt(one+" "+two+" refs/heads/main\n") + "0000", []Update{{Ref: "refs/heads/main"}}},
		{"create", pkt(none+" "+two+" refs/tags/v1"+caps) + "0000", []Update{{Ref: "refs/tags/v1", Create: true}}},
		{"delete", pkt(one+" "+none+" refs/heads/x"+caps) + "0000", []Update{{Ref: "refs/heads/x", Delete: true}}},
		{"several", pkt(one+" "+two+" refs/heads/a"+caps) + pkt(one+" "+none+" refs/heads/b\n") + "0000PACK",
			[]Update{{Ref: "refs/heads/a"}, {Ref: "refs/heads/b", Delete: true}}},
		{"shallow", pkt("shallow "+one+"\n") + pkt(one+" "+two+" refs/heads/a"+caps) + "0000", []Update{{Ref: "refs/heads/a"}}},
		{"sha256", pkt(strings.Repeat("a", 64)+" "+strings.Repeat("0", 64)+" refs/heads/a"+caps) + "0000", []Update{{Ref: "refs/heads/a", Delete: true}}},
		{"beyond ASCII", pkt(one+" "+two+" refs/heads/grün"+caps) + "0000", []Update{{Ref: "refs/heads/grün"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := strings.Index(c.body, "0000PACK") + 4
			if end < 4 {
				end = len(c.body)
			}
			for i := range end {
				if _, done, err := Parse([]byte(c.body[:i])); done || err != nil {
					t.Fatalf("the first %d bytes: done %v, %v", i, done, err)
				}
			}
			got, done, err := Parse([]byte(c.body))
			if !done || err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%+v, %v, %v", got, done, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, body := range map[string]string{
		"not a length":            "zzzz",
		"length of 1":             "0001",
		"delimiter packet":        "0001" + pkt("x"),
		"empty packet":            "0004",
		"packet too long":         "fff1" + strings.Repeat("x", 70000),
		"no ids":                  pkt("hello") + "0000",
		"short id":                pkt(one[1:]+" "+two+" refs/heads/a") + "0000",
		"mixed hashes":            pkt(one+" "+strings.Repeat("a", 64)+" refs/heads/a") + "0000",
		"nothing to nothing":      pkt(none+" "+none+" refs/heads/a") + "0000",
		"ref outside refs":        pkt(one+" "+two+" HEAD") + "0000",
		"dots":                    pkt(one+" "+two+" refs/heads/../main") + "0000",
		"lock":                    pkt(one+" "+two+" refs/heads/a.lock") + "0000",
		"space in the ref":        pkt(one+" "+two+" refs/heads/a b") + "0000",
		"line feed and more":      pkt(one+" "+two+" refs/heads/a\nx") + "0000",
		"not UTF-8":               pkt(one+" "+two+" refs/heads/\xff") + "0000",
		"late capabilities":       pkt(one+" "+two+" refs/heads/a") + pkt(one+" "+two+" refs/heads/b\x00x") + "0000",
		"two NULs":                pkt(one+" "+two+" refs/heads/a\x00x\x00y") + "0000",
		"signed":                  pkt("push-cert\x00caps\n") + "0000",
		"shallow alone":           pkt("shallow "+one) + "0000",
		"shallow behind commands": pkt(one+" "+two+" refs/heads/a\x00") + pkt("shallow "+one) + "0000",
		"endless":                 strings.Repeat(pkt(one+" "+two+" refs/heads/a\n"), MaxCommands/90),
	} {
		t.Run(name, func(t *testing.T) {
			got, done, err := Parse([]byte(body))
			var e *Error
			if done || !errors.As(err, &e) {
				t.Errorf("%+v, %v, %v", got, done, err)
			}
		})
	}
}

func TestType(t *testing.T) {
	for ref, want := range map[string]string{"refs/heads/a": "branch", "refs/tags/a": "tag", "refs/notes/a": "ref", "refs/headsx": "ref"} {
		if got := (&Update{Ref: ref}).Type(); got != want {
			t.Errorf("%s: %s", ref, got)
		}
	}
}

// TestRefsAreGits: what passes here is a ref to git itself.
func TestRefsAreGits(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("this test needs git (apt-get install git)")
	}
	for _, ref := range []string{"refs/heads/main", "refs/heads/a/b", "refs/heads/-x", "refs/heads/a.", "refs/heads/.a", "refs/heads/a..b",
		"refs/heads/a~b", "refs/heads/a@{b", "refs/heads/@", "refs/heads/a//b", "refs/heads/a.lock/b", "refs/heads/a*", "refs/heads/grün", "refs/x"} {
		ok := exec.Command(git, "check-ref-format", ref).Run() == nil
		if got := validRef([]byte(ref)); got != ok {
			t.Errorf("%q: %v, git says %v", ref, got, ok)
		}
	}
}

// asReceivePack reads commands as git's builtin/receive-pack.c does (read_head_info,
// queue_command), which reads C strings and is more lenient.
func asReceivePack(body []byte) (updates []Update, ok bool) {
	for {
		n, err := strconv.ParseUint(string(body[:min(4, len(body))]), 16, 16)
		switch {
		case err != nil || n != 0 && n < 4 || int(n) > len(body):
			return nil, false
		case n == 0:
			return updates, true
		}
		line := strings.TrimSuffix(string(body[4:n]), "\n")
		body = body[n:]
		if len(line) > 8 && strings.HasPrefix(line, "shallow ") {
			continue
		}
		line, _, _ = strings.Cut(line, "\x00")
		for _, hex := range []int{40, 64} {
			if len(line) > 2*hex+2 && line[hex] == ' ' && line[2*hex+1] == ' ' {
				zero := strings.Repeat("0", hex)
				updates = append(updates, Update{Ref: line[2*hex+2:], Create: line[:hex] == zero, Delete: line[hex+1:2*hex+1] == zero})
				break
			}
		}
	}
}

// FuzzParse: what is read is what git would read, and neither more of the body nor
// how it is cut into pieces changes it.
func FuzzParse(f *testing.F) {
	f.Add([]byte("0000"))
	f.Add([]byte(pkt(one+" "+two+" refs/heads/main\x00 report-status") + "0000PACK"))
	f.Add([]byte(pkt("shallow "+one) + pkt(one+" "+none+" refs/tags/v\x00") + "0000"))
	f.Fuzz(func(t *testing.T, body []byte) {
		updates, done, err := Parse(body)
		if err != nil {
			return
		}
		// More of the body never changes what was read.
		again, done2, err2 := Parse(append(slices.Clone(body), "0000PACK"...))
		if done && (!done2 || err2 != nil || !slices.Equal(updates, again)) {
			t.Errorf("%+v became %+v, %v, %v", updates, again, done2, err2)
		}
		var p Parser // and it does not matter in which pieces it comes
		for i := range body {
			if got, done3, err := p.Parse(body[:i+1]); err != nil || done3 {
				if err != nil || !done || !slices.Equal(got, updates) {
					t.Errorf("in pieces %+v, %v, %v", got, done3, err)
				}
				break
			}
		}
		if theirs, ok := asReceivePack(body); done && (!ok || !slices.Equal(updates, theirs)) {
			t.Errorf("%+v, git reads %+v, %v", updates, theirs, ok)
		}
		for _, u := range updates {
			if !strings.HasPrefix(u.Ref, "refs/") || u.Create && u.Delete || u.Type() != "ref" && strings.Count(u.Ref, "/") < 2 {
				t.Errorf("%+v", u)
			}
		}
	})
}

// TestByteForByte: a body that comes in the smallest pieces costs a look at each
// packet once, not once for each byte.
func TestByteForByte(t *testing.T) {
	body := []byte(strings.Repeat(pkt("shallow "+one), 4000))
	var p Parser
	for i := range body {
		if _, done, err := p.Parse(body[:i+1]); done || err != nil {
			t.Fatal(done, err)
		}
	}
	if p.at != len(body) {
		t.Errorf("%d of %d bytes are settled", p.at, len(body))
	}
}
