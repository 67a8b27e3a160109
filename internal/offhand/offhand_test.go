package offhand

import (
	"testing"
	"time"
)

// TestAnnounced: calls are announced from when they take long until some time after they
// no longer do.
func TestAnnounced(t *testing.T) {
	const short, long = time.Microsecond, 5 * time.Millisecond
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
		does(short, false)
	}
	for range 100 { // some lose their processor
		does(long, false)
		for range weight {
			does(short, false)
		}
	}
	does(long, false)
	does(long, false)
	does(short, false)
	for range 2 {
		does(long, c.until.Load() != 0)
	}
	for range 5000 { // the disk is busy
		does(long, true)
	}
	for range 100 {
		does(short, true)
	}
	now += pause
	does(short, false)
	does(long, false)
	does(long, false)
	does(long, false)
	does(short, true)
	now += pause
	announced := 0
	for range 100 { // half of them are slow
		for _, took := range []time.Duration{short, long} {
			call := c.begin(now)
			if call.Announce {
				announced++
			}
			now += took
			c.end(call, now)
		}
	}
	if announced < 150 {
		t.Error("announced", announced)
	}
}

// TestStuck: a disk that is stuck now and then holds up a processor once in a while, not
// every time.
func TestStuck(t *testing.T) {
	var c Calls
	now, held := time.Hour, time.Duration(0)
	for range 1000 {
		for _, took := range []time.Duration{stuck + 1, 1, 1, 1, 1, 1} {
			call := c.begin(now)
			if now += took; !call.Announce {
				held += took
			}
			c.end(call, now)
		}
	}
	if all := now - time.Hour; held > all/20 {
		t.Errorf("held up for %v of %v", held, all)
	}
}
