package revocation

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"firma/internal/fault"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		text string
		want []Entry
		err  string
	}{
		"empty":              {"", nil, ""},
		"ids":                {"ctok_1\nctok_2\n", []Entry{{TokenID: "ctok_1"}, {TokenID: "ctok_2"}}, ""},
		"no last line feed":  {"ctok_1", []Entry{{TokenID: "ctok_1"}}, ""},
		"CRLF":               {"ctok_1\r\nctok_2 x\r\n", []Entry{{TokenID: "ctok_1"}, {TokenID: "ctok_2", Reason: "x"}}, ""},
		"blank and comments": {"\n  \n# x\n  # y\nctok_1\n", []Entry{{TokenID: "ctok_1"}}, ""},
		"indented":           {"  ctok_1  why not \n", []Entry{{TokenID: "ctok_1", Reason: "why not"}}, ""},
		"everything": {"ctok_1 at=2026-11-23T12:00:00Z expires=2026-11-23T13:00:00+01:00 operator revoked at=home\n",
			[]Entry{{TokenID: "ctok_1", Reason: "operator revoked at=home", At: noon, Expires: noon}}, ""},
		"tabs":             {"ctok_1\texpires=2026-11-23T12:00:00Z\tx\n", []Entry{{TokenID: "ctok_1", Reason: "x", Expires: noon}}, ""},
		"bad time":         {"ctok_1\nctok_2 expires=soon\nctok_3\n", []Entry{{TokenID: "ctok_1"}, {TokenID: "ctok_3"}}, "f:2"},
		"bad id":           {"ctok_\x01\nctok_2\n", []Entry{{TokenID: "ctok_2"}}, "f:1"},
		"long id":          {strings.Repeat("x", 129) + "\nctok_2\n", []Entry{{TokenID: "ctok_2"}}, "f:1"},
		"long line":        {"ctok_1 " + strings.Repeat("x", 5000) + "\nctok_2\n", []Entry{{TokenID: "ctok_2"}}, "f:1"},
		"reason like time": {"ctok_1 \x1bexpires=2001-01-01T00:00:00Z\n", []Entry{{TokenID: "ctok_1", Reason: "- expires=2001-01-01T00:00:00Z"}}, ""},
		"escapes":          {"ctok_1 a\x1b[2Jb\u0085\xff\n", []Entry{{TokenID: "ctok_1", Reason: "a [2Jb ?"}}, ""},
		"first error only": {"é\nü\n", nil, "f:1"},
	}
	for name, tt := range tests {
		got, err := Parse("f", []byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err+":") {
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
	}
}

// Whatever the bytes, every entry is a usable one and survives being written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"ctok_1\n", "ctok_1 at=2026-11-23T12:00:00Z x", "#\n\n", "a expires=x", "a at= b", "a expires=9999-12-31T23:59:59-01:00", "a\tb\r\n", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _ := Parse("f", data)
		for _, e := range entries {
			if !ValidTokenID(e.TokenID) || strings.ContainsAny(e.Reason, "\n\r\x1b\x00") {
				t.Fatalf("%+v", e)
			}
			e.At, e.Expires = e.At.Truncate(time.Second), e.Expires.Truncate(time.Second)
			again, err := Parse("f", []byte(e.line()))
			if err != nil || len(again) != 1 || again[0].TokenID != e.TokenID || !again[0].Expires.Equal(e.Expires) {
				t.Fatalf("%q became %+v, %v", e.line(), again, err)
			}
		}
	})
}

func TestAdd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations.txt")
	if err := os.WriteFile(path, []byte("# mine\nctok_0"), 0o600); err != nil { // no line feed
		t.Fatal(err)
	}
	for i := range 3 {
		e := Entry{TokenID: fmt.Sprintf("ctok_%d", i+1), Reason: "a\nctok_forged \t b\x1b" + strings.Repeat("é", 3000), At: noon}
		if err := Add(path, e); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := Read(path)
	if err != nil || len(entries) != 4 || entries[0].TokenID != "ctok_0" || !strings.HasPrefix(entries[3].Reason, "a ctok_forged b") {
		t.Errorf("%v, %.300v", err, entries)
	}
	if err := Add(path, Entry{TokenID: "ctok_4", Reason: " expires=2001-01-01T00:00:00Z", At: noon}); err != nil {
		t.Fatal(err)
	}
	entries, err = Read(path)
	if err != nil || len(entries) != 5 || entries[4].Reason != "- expires=2001-01-01T00:00:00Z" || !entries[4].Expires.IsZero() {
		t.Errorf("%v, %.300v", err, entries)
	}
	for _, bad := range []string{"", "#x", "a b", "a\nb", strings.Repeat("x", 200)} {
		if err := Add(path, Entry{TokenID: bad}); fault.NameOf(err) != faultName {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

func TestAddMakesAPrivateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "revocations.txt")
	if err := Add(path, Entry{TokenID: "ctok_1"}); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMissingFileIsEmpty(t *testing.T) {
	entries, err := Read(filepath.Join(t.TempDir(), "none"))
	if entries != nil || err != nil {
		t.Errorf("%v %v", entries, err)
	}
	if n, err := Compact(filepath.Join(t.TempDir(), "none"), noon); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// Compaction refuses what it cannot read rather than drop it.
func TestCompactLeavesABadFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.txt")
	const text = "ctok_1 expires=2000-01-01T00:00:00Z\nctok_2 expires=soon\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Compact(path, noon); fault.NameOf(err) != faultName {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != text {
		t.Errorf("the file is %q", after)
	}
}

// A compaction never drops an id that some line keeps, and is stable.
func TestCompactKeepsWhatIsAlive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.txt")
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		alive := map[string]bool{}
		for range rapid.IntRange(0, 30).Draw(t, "lines") {
			e := Entry{TokenID: fmt.Sprintf("ctok_%d", rapid.IntRange(0, 9).Draw(t, "id"))}
			if hours := rapid.IntRange(-3, 3).Draw(t, "hours"); hours != 0 {
				e.Expires = noon.Add(time.Duration(hours) * time.Hour)
			}
			if e.Expires.IsZero() || !e.Expires.Before(noon) {
				alive[e.TokenID] = true
			}
			text.WriteString(e.line())
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Compact(path, noon); err != nil {
			t.Fatal(err)
		}
		entries, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := map[string]bool{}
		for _, e := range entries {
			kept[e.TokenID] = true
		}
		if diff := cmp.Diff(alive, kept); diff != "" || len(entries) != len(alive) {
			t.Fatalf("%d entries: %s", len(entries), diff)
		}
		if n, err := Compact(path, noon); n != 0 || err != nil {
			t.Fatalf("a second time: %d, %v", n, err)
		}
	})
}

// Adding while compacting loses nothing.
func TestAddWhileCompacting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.txt")
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			for i := range 15 {
				past := Entry{TokenID: fmt.Sprintf("old_%d_%d", w, i), Expires: noon.Add(-time.Hour)}
				if err := Add(path, past); err != nil {
					t.Error(err)
				}
				if err := Add(path, Entry{TokenID: fmt.Sprintf("ctok_%d_%d", w, i)}); err != nil {
					t.Error(err)
				}
				if _, err := Compact(path, noon); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	entries, err := Read(path)
	if err != nil || len(entries) != 45 {
		t.Errorf("%d entries, want 45; %v", len(entries), err)
	}
}

func TestAStaleLockIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.txt")
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Add(path, Entry{TokenID: "ctok_1"})
	var f *fault.Error
	if fault.NameOf(err) != faultName {
		t.Fatal(err)
	}
	if f, _ = err.(*fault.Error); !strings.Contains(f.Fix, path+".lock") {
		t.Errorf("fix: %s", f.Fix)
	}
}

func TestLog(t *testing.T) {
	l := NewLog()
	events, changed := l.From(0)
	if len(events) != 0 {
		t.Fatal("not empty")
	}
	if n := l.Merge([]Entry{{TokenID: "1"}, {TokenID: "old", Expires: noon.Add(-time.Second)}, {TokenID: "1"}}, noon); n != 1 {
		t.Errorf("merged %d", n)
	}
	<-changed
	events, changed = l.From(0)
	if len(events) != 1 || !events[0].Seen.Equal(noon) {
		t.Errorf("%v", events)
	}
	if n := l.Merge([]Entry{{TokenID: "1"}}, noon.Add(time.Hour)); n != 0 {
		t.Errorf("merged %d again", n)
	}
	select {
	case <-changed:
		t.Error("woken for nothing")
	default:
	}
	// A clock that is set back does not reorder the replay.
	l.Merge([]Entry{{TokenID: "2"}}, noon.Add(-time.Hour))
	events, _ = l.From(1)
	if len(events) != 1 || events[0].TokenID != "2" || events[0].Seen.Before(noon) {
		t.Errorf("%v", events)
	}
	if events, _ = l.From(99); len(events) != 0 {
		t.Errorf("beyond the end: %v", events)
	}
}
