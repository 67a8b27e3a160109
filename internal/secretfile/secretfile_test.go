package secretfile_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"firma/internal/fault"
	"firma/internal/secretfile"
)

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "x.secret")
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() {
			s, err := secretfile.LoadOrCreate(path)
			if err != nil {
				t.Error(err)
			}
			got[i] = s
		})
	}
	wg.Wait()
	for _, s := range got {
		if s != got[0] || len(s) < 32 {
			t.Fatalf("different or short secrets: %q", got)
		}
	}
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files left behind: %v %v", left, err)
	}
}

func TestLoadRefuses(t *testing.T) {
	good := strings.Repeat("k", 32)
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"short":          {"abc", 0o600, "16 to 1024"},
		"empty":          {"", 0o600, "16 to 1024"},
		"long":           {strings.Repeat("k", 1025), 0o600, "16 to 1024"},
		"two lines":      {good + "\n" + good, 0o600, "16 to 1024"},
		"group readable": {good, 0o640, "other accounts"},
		"world readable": {good, 0o604, "other accounts"},
	} {
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		s, err := secretfile.Load(path)
		if s != "" || fault.NameOf(err) != "SecretFileInvalid" || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q %v", name, s, err)
		}
	}
	if _, err := secretfile.Load(t.TempDir()); fault.NameOf(err) != "SecretFileInvalid" {
		t.Errorf("a directory: %v", err)
	}
	if _, err := secretfile.LoadOrCreate("/proc/nowhere/x"); runtime.GOOS == "linux" && fault.NameOf(err) != "SecretFileInvalid" {
		t.Errorf("nowhere: %v", err)
	}
}

func TestReadOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("p w\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := secretfile.Read(path); err != nil || s != "p w" {
		t.Errorf("%q, %v", s, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if s, err := secretfile.Read(path); fault.NameOf(err) != "SecretFileInvalid" || !strings.Contains(err.Error(), "another account") {
		t.Errorf("%q, %v", s, err)
	}
}
