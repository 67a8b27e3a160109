package logfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"firma/internal/logfile"
)

func TestDivertTakesTheLinesOffTheScreen(t *testing.T) {
	var screen bytes.Buffer
	path := filepath.Join(t.TempDir(), "logs", "sbx_1.log")
	s := logfile.New(&screen)
	fmt.Fprintln(s, "before")
	s.Divert(path)
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Error("the directory was made before there was a line")
	}
	fmt.Fprintln(s, "during")
	if got := s.Restore(); got != path {
		t.Errorf("Restore() = %q, want %q", got, path)
	}
	fmt.Fprintln(s, "after")
	if got := screen.String(); got != "before\nafter\n" {
		t.Errorf("screen shows %q", got)
	}
	if got := read(t, path); got != "during\n" {
		t.Errorf("file holds %q", got)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v (%v)", p, st.Mode(), want, err)
		}
	}
}

func TestASilentRunLeavesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "x.log")
	s := logfile.New(&bytes.Buffer{})
	s.Divert(path)
	if got := s.Restore(); got != "" {
		t.Errorf("Restore() = %q", got)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("an empty file was left")
	}
}

func TestAnUnwritableFileNeverReachesTheScreen(t *testing.T) {
	var screen bytes.Buffer
	s := logfile.New(&screen)
	s.Divert(filepath.Join(t.TempDir(), "x\x00y", "z.log"))
	if n, err := fmt.Fprintln(s, "during"); n != 7 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if screen.Len() != 0 || s.Restore() != "" {
		t.Errorf("screen shows %q", screen.String())
	}
}

func TestOpenAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.WriteFile(path, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := logfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if !s.File() || logfile.New(&bytes.Buffer{}).File() {
		t.Error("File() is wrong")
	}
	fmt.Fprintln(s, "new")
	if got := read(t, path); got != "old\nnew\n" {
		t.Errorf("file holds %q", got)
	}
	if _, err := logfile.Open(filepath.Join(path, "below")); err == nil {
		t.Error("a log below a file was opened")
	}
}

func TestLinesStayWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	s := logfile.New(&bytes.Buffer{})
	s.Divert(path)
	line := strings.Repeat("x", 500) + "\n"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				fmt.Fprint(s, line)
			}
		})
	}
	wg.Wait()
	s.Restore()
	if got := read(t, path); got != strings.Repeat(line, 400) {
		t.Error("lines were mixed or lost")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
