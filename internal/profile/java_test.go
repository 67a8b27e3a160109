package profile

import (
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/sandbox"
)

// TestJavaProxy: a JDK that is shown reads the proxy from its own settings, once
// each; one that is not shown gets no file.
func TestJavaProxy(t *testing.T) {
	if found, _ := filepath.Glob(javaSettings); len(found) == 0 {
		t.Skip("this machine has no Java")
	}
	spec := &sandbox.Spec{Mounts: []sandbox.Mount{{Source: "/usr", Target: "/usr"}, {Source: "/etc", Target: "/etc"}}}
	javaProxy(spec)
	seen := map[string]bool{}
	for _, f := range spec.Files {
		if seen[f.Path] || !f.Over {
			t.Errorf("%s: %v", f.Path, f.Over)
		}
		seen[f.Path] = true
		for _, line := range []string{"http.proxyHost=127.0.0.1", "https.proxyPort=18080", "jdk.http.auth.tunneling.disabledSchemes"} {
			if !strings.Contains(string(f.Data), "\n"+line) {
				t.Errorf("%s: no %s", f.Path, line)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("none")
	}
	hidden := &sandbox.Spec{}
	if javaProxy(hidden); len(hidden.Files) > 0 {
		t.Errorf("%d files", len(hidden.Files))
	}
}
