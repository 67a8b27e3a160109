package e2e

import (
	"os"
	"testing"

	"firma/internal/testkit/world"
)

func TestMain(m *testing.M) {
	world.OwnSignals()
	os.Exit(m.Run())
}
