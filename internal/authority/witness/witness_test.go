package witness

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"firma/internal/fault"
)

func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func open(t testing.TB, path string) *Witness {
	t.Helper()
	w, err := Open(path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func at(size uint64, root byte) Checkpoint {
	return Checkpoint{Origin: "log", Size: size, Root: bytes.Repeat([]byte{root}, 32), Text: "log\n…"}
}

func TestSubmit(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "witness.jsonl")} {
		w := open(t, path)
		for _, tt := range []struct {
			name     string
			c        Checkpoint
			conflict bool
			held     uint64
		}{
			{"empty log", at(0, 0), false, 0},
			{"growth", at(5, 1), false, 5},
			{"the same", at(5, 1), false, 5},
			{"same size, other root", at(5, 2), true, 5},
			{"shrunk", at(4, 1), true, 5},
			{"back to empty", at(0, 0), true, 5},
			{"growth after conflicts", at(6, 3), false, 6},
		} {
			got, err := w.Submit(tt.c)
			var conflict *Conflict
			if errors.As(err, &conflict) != tt.conflict || !tt.conflict && (err != nil || got.Size != tt.held) {
				t.Errorf("%s: %v %v", tt.name, got, err)
			}
			if held, ok := w.Held("log"); !ok || held.Size != tt.held {
				t.Errorf("%s: holds %v", tt.name, held)
			}
		}
		if _, ok := w.Held("other"); ok {
			t.Error("holds a log it never saw")
		}
	}
}

func TestMalformed(t *testing.T) {
	w := open(t, "")
	for name, change := range map[string]func(*Checkpoint){
		"no origin":        func(c *Checkpoint) { c.Origin = "" },
		"long origin":      func(c *Checkpoint) { c.Origin = strings.Repeat("x", 257) },
		"origin not UTF-8": func(c *Checkpoint) { c.Origin = "\xff" },
		"no root":          func(c *Checkpoint) { c.Root = nil },
		"short root":       func(c *Checkpoint) { c.Root = c.Root[1:] },
		"long text":        func(c *Checkpoint) { c.Text = strings.Repeat("x", maxCheckpointBytes+1) },
		"text not UTF-8":   func(c *Checkpoint) { c.Text = "\xff" },
	} {
		c := at(1, 1)
		change(&c)
		_, err := w.Submit(c)
		var malformed *Malformed
		if !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemorySurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.jsonl")
	w := open(t, path)
	for i := range 4 {
		if _, err := w.Submit(at(uint64(i), byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Submit(at(9, 9)); err == nil {
		t.Error("a closed witness recorded something")
	}
	again := open(t, path)
	if _, err := again.Submit(at(2, 2)); err == nil {
		t.Error("it forgot how long the log was")
	}
	if held, _ := again.Held("log"); held.Size != 3 || !held.Seen.Equal(now()) || held.Text != at(0, 0).Text {
		t.Errorf("holds %+v", held)
	}
}

// A line that was being written when the machine stopped is dropped; one that is
// damaged otherwise stops the start.
func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole")
	w := open(t, whole)
	for i := range 2 {
		if _, err := w.Submit(at(uint64(i+1), 1)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		text string
		size uint64 // 0 is refused
	}{
		"torn":          {string(text[:len(text)-7]), 1},
		"complete":      {string(text), 2},
		"damaged":       {strings.Replace(string(text), `"size":1`, `"size":x`, 1), 0},
		"unknown field": {strings.Replace(string(text), `"size"`, `"Size2"`, 1), 0},
		"short root":    {`{"origin":"log","size":1,"root":"AAAA","checkpoint":"","seen":"2026-11-23T12:00:00Z"}` + "\n", 0},
	} {
		path := filepath.Join(dir, "damaged")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := Open(path, now)
		if tt.size == 0 {
			if fault.NameOf(err) != "WitnessFileInvalid" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if held, _ := w.Held("log"); held.Size != tt.size {
			t.Errorf("%s: holds size %d, want %d", name, held.Size, tt.size)
		}
		if _, err := w.Submit(at(7, 7)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = w.Close()
		if held, _ := open(t, path).Held("log"); held.Size != 7 {
			t.Errorf("%s: after another line it holds size %d", name, held.Size)
		}
	}
}

// The file does not grow without end, and nothing is lost when it is rewritten.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.jsonl")
	w := open(t, path)
	w.file.limit = 2000
	other := at(3, 3)
	other.Origin = "other"
	if _, err := w.Submit(other); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := w.Submit(at(uint64(i), byte(i))); err != nil {
			t.Fatal(err)
		}
		if w.file.limit > 2000 {
			w.file.limit = 2000
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2500 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	again := open(t, path)
	a, _ := again.Held("log")
	b, _ := again.Held("other")
	if a.Size != 99 || b.Size != 3 {
		t.Errorf("after the rewrite: %d and %d", a.Size, b.Size)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"origin":"log","size":1,"root":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","checkpoint":"","seen":"2026-11-23T12:00:00Z"}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("torn"))
	f.Fuzz(func(t *testing.T, data []byte) {
		held, size, err := read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if size > int64(len(data)) || size > 0 && data[size-1] != '\n' {
			t.Fatalf("%d bytes of whole lines in %q", size, data)
		}
		for origin, c := range held {
			if c.Origin != origin || c.check() != nil {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// Whatever is submitted, what is held never shrinks and never changes its root
// at one size.
func TestHeldOnlyGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := Open("", now)
		if err != nil {
			t.Fatal(err)
		}
		var last Checkpoint
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			_, err := w.Submit(at(rapid.Uint64Range(0, 6).Draw(t, "size"), rapid.Byte().Draw(t, "root")))
			held, _ := w.Held("log")
			if held.Size < last.Size || held.Size == last.Size && last.Root != nil && !bytes.Equal(held.Root, last.Root) {
				t.Fatalf("%v after %v (%v)", held, last, err)
			}
			last = held
		}
	})
}
