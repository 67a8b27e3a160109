package profile

import (
	"os"
	"testing"
)

// BenchmarkResolve is on the start path of every run.
func BenchmarkResolve(b *testing.B) {
	dir, home := b.TempDir(), os.Getenv("HOME")
	for b.Loop() {
		if _, err := Resolve(Generic, Host{Dir: dir, Home: home, Env: os.Environ(), Command: "true"}); err != nil {
			b.Fatal(err)
		}
	}
}
