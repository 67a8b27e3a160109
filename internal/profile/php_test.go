package profile

import (
	"os"
	"path/filepath"
	"testing"

	"firma/internal/sandbox"
)

// TestPHPExtensions: what loads an extension is shown, in PHP's order, and nothing
// else of the settings is.
func TestPHPExtensions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"20-curl.ini":   "; comment\nextension=curl.so\n",
		"10-cache.ini":  "zend_extension = cache.so\r\nvendor.license = secret",
		"30-key.ini":    "vendor.license=extension=secret\n;extension=off.so\n",
		"40-other.conf": "extension=other.so\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spec := &sandbox.Spec{}
	phpExtensions(spec, []string{dir, filepath.Join(dir, "absent")})
	if len(spec.Files) != 1 || spec.Files[0].Path != filepath.Join(dir, "extensions.ini") {
		t.Fatalf("files: %+v", spec.Files)
	}
	if got, want := string(spec.Files[0].Data), "zend_extension = cache.so\nextension=curl.so\n"; got != want {
		t.Errorf("shown: %q, want %q", got, want)
	}
}
