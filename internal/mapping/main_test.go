package mapping_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain raises the number of random rule sets: they are small, and rules that
// meet in an interesting way are rare. A flag on the command line still wins.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
