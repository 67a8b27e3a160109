package offhand

import (
	"testing"
	"time"
)

// TestAnnounced: calls are announced from when they take long until some time after they
// no longer do.
func TestAnnounced(t *testing.T) {
	var c Calls
	now := time.Hour
	does := func(took time.Duration, announced bool) {
		t.Helper()
		call := c.begin(now)
		if call.Announce != announced {
			t.Fatalf("at %v: announced %v", now, call.Announce)
		}
		now += took
		c.end(call, now)
	}
	for range 100 {
		does(time.Microsecond, false)
	}
	does(4*time.Millisecond, false) // one that was interrupted
	for range 100 {
		does(time.Microsecond, false)
	}
	does(time.Second, false)
	for range 50 { // none is short yet
		does(time.Second/10, true)
	}
	now += pause
	does(time.Microsecond, false)
	does(time.Microsecond, false)
	for range 9 { // each short enough for its own part, but not together
		does(3*time.Millisecond/2, false)
	}
	for range 9 {
		does(3*time.Millisecond/2, c.until.Load() != 0)
	}
	does(time.Microsecond, true)
}
