package audit

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// check fails unless the verifier reports the change.
func (f *fixture) mustNotice(t testing.TB, fs files, what string) Report {
	t.Helper()
	r := mustVerify(t, f.store(t, fs))
	if r.OK() || r.Status != StatusTampered || r.Sealed {
		t.Fatalf("%s: not noticed:\n%s", what, r.Text())
	}
	return r
}

// A strided walk keeps this short; TestAnyMutationIsNoticed hits the rest.
func TestEveryByteCounts(t *testing.T) {
	f := newFixture(t, nil)
	whole := f.files()
	flip := func(text []byte, i int) []byte {
		text = bytes.Clone(text)
		text[i] ^= 1
		return text
	}
	start := len(join(f.log[:4]))
	for i := start; i < start+len(f.log[4]); i += 2 {
		fs := whole
		fs.log = flip(whole.log, i)
		f.mustNotice(t, fs, fmt.Sprintf("log byte %d", i))
	}
	for i := 0; i < len(f.log[11]); i += 4 {
		fs := whole
		fs.log = flip(whole.log, len(whole.log)-1-i)
		f.mustNotice(t, fs, fmt.Sprintf("log byte %d from the end", i))
	}
	for i := len(f.checkpoints[0]); i < len(f.checkpoints[0])+len(f.checkpoints[1]); i += 2 {
		fs := whole
		fs.checkpoints = flip(whole.checkpoints, i)
		f.mustNotice(t, fs, fmt.Sprintf("checkpoint byte %d", i))
	}
	for i := 0; i < len(whole.pin); i += 2 {
		fs := whole
		fs.pin = flip(whole.pin, i)
		f.mustNotice(t, fs, fmt.Sprintf("kept checkpoint byte %d", i))
	}
}

// TestEveryFieldIsNamed changes one character of each value of an event, and
// wants that very event named.
func TestEveryFieldIsNamed(t *testing.T) {
	f := newFixture(t, nil)
	line := f.log[4]
	members := regexp.MustCompile(`"([a-z_]+)":("(?:[^"\\]|\\.)*"|\d+)`).FindAllSubmatchIndex(line, -1)
	if len(members) != 25 {
		t.Fatalf("%d members in %s, want 25", len(members), line)
	}
	for _, m := range members {
		name, value := line[m[2]:m[3]], line[m[4]:m[5]]
		t.Run(string(name), func(t *testing.T) {
			edited := bytes.Clone(value)
			if edited[0] == '"' {
				other := byte('e')
				if edited[1] == other {
					other = 'f'
				}
				edited = append([]byte{'"', other}, edited[min(2, len(edited)-1):]...)
			} else {
				edited[0] = '1' + (edited[0]-'0'+1)%9
			}
			changed := append(append(bytes.Clone(line[:m[4]]), edited...), line[m[5]:]...)
			fs := f.files()
			fs.log = join(append(append(append([][]byte{}, f.log[:4]...), changed), f.log[5:]...))
			r := f.mustNotice(t, fs, string(name))
			for _, p := range r.Problems {
				if p.Line != 5 || p.Seq != 4 {
					t.Errorf("blames line %d, event %d: %s", p.Line, p.Seq, p.Text)
				}
			}
		})
	}
}

func TestTruncationAnywhere(t *testing.T) {
	f := newFixture(t, nil)
	at := 0
	for i, line := range f.log {
		for _, cut := range []int{0, 1, len(line) / 2, len(line) - 1} {
			fs := f.files()
			fs.log = fs.log[:at+cut]
			r := f.mustNotice(t, fs, fmt.Sprintf("cut %d bytes into line %d", cut, i+1))
			kinds := map[string]bool{}
			for _, p := range r.Problems {
				kinds[p.Kind] = true
			}
			if torn := cut > 0; kinds[ProblemTorn] != torn || (cut < len(line)-1 || i < 11) && !kinds[ProblemTruncated] {
				t.Errorf("cut %d bytes into line %d: %s", cut, i+1, r.Text())
			}
		}
		at += len(line)
	}
}

// mutate draws one change of a list of lines.
func mutate(t *rapid.T, lines [][]byte) [][]byte {
	i := rapid.IntRange(0, max(0, len(lines)-1)).Draw(t, "line")
	j := rapid.IntRange(0, len(lines)).Draw(t, "other")
	if len(lines) == 0 {
		return [][]byte{[]byte("\n")}
	}
	switch rapid.IntRange(0, 6).Draw(t, "change") {
	case 0:
		return without(lines, i, i+1)
	case 1:
		return swapped(lines, i, j%len(lines))
	case 2:
		return inserted(lines, j, lines[i])
	case 3:
		return lines[:i]
	case 4:
		at := rapid.IntRange(0, max(0, len(lines[i])-1)).Draw(t, "at")
		out := append([][]byte{}, lines...)
		out[i] = append(bytes.Clone(out[i][:min(at, len(out[i]))]), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "bytes")...)
		out[i] = append(out[i], lines[i][min(at+1, len(lines[i])):]...)
		return out
	case 5:
		return inserted(without(lines, i, i+1), j%len(lines), lines[i])
	}
	return inserted(lines, j, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "inserted"))
}

// A random change of the log or of its checkpoints is noticed, whatever it is.
func TestAnyMutationIsNoticed(t *testing.T) {
	for _, sign := range []bool{false, true} {
		f := newFixture(t, func(o *Options) { o.SignEvents = sign })
		rapid.Check(t, func(rt *rapid.T) {
			whole, fs := f.files(), f.files()
			lines := f.log
			other := rapid.Bool().Draw(rt, "checkpoints")
			if other {
				lines = f.checkpoints
			}
			for range rapid.IntRange(1, 4).Draw(rt, "changes") {
				lines = mutate(rt, lines)
			}
			if other {
				fs.checkpoints = join(lines)
			} else {
				fs.log = join(lines)
			}
			if bytes.Equal(fs.log, whole.log) && bytes.Equal(fs.checkpoints, whole.checkpoints) {
				return
			}
			if r := mustVerify(t, f.store(t, fs)); r.OK() {
				rt.Fatalf("not noticed:\n%s", r.Text())
			}
		})
	}
}

// memory is a log in memory.
type memory struct{ *bytes.Reader }

func (memory) grew() bool { return false }

// FuzzVerify: no bytes make the verifier panic, and none but the original ones
// are a sealed log.
func FuzzVerify(f *testing.F) {
	// The same log in every fuzzing process.
	fx := newFixture(f, func(o *Options) {
		o.Key = mustKey(newKey("test", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))
		o.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	})
	ring, err := newKeyring(fx.o.Key.Public(), nil)
	if err != nil {
		f.Fatal(err)
	}
	whole := fx.files()
	f.Add(whole.log, whole.checkpoints)
	f.Add(join(fx.log[:3]), join(fx.checkpoints[:1]))
	f.Add(join(swapped(fx.log, 2, 9)), whole.checkpoints)
	f.Add(join(inserted(fx.log, 3, fx.log[9])), []byte{})
	f.Fuzz(func(t *testing.T, log, signed []byte) {
		r := Report{}
		cs := &checkpoints{ring: ring, report: &r}
		if err := verifyFiles(&r, cs, memory{bytes.NewReader(log)}, bytes.NewReader(signed)); err != nil {
			t.Fatal(err)
		}
		original := bytes.Equal(log, whole.log) && bytes.Equal(signed, whole.checkpoints)
		if original != (r.Status == StatusSealed) || r.OK() != (r.ProblemCount == 0) || r.Text() == "" {
			t.Fatalf("original %v, report %+v", original, r)
		}
	})
}
