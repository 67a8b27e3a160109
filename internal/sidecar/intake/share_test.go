//go:build unix

package intake_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/sidecar/intake"
)

// fill puts connections into q, each of which is accepted and stays open, until
// one is refused.
func fill(t *testing.T, q *intake.Queue, held *int, limit int) {
	t.Helper()
	for range limit {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		if !q.Put(a) {
			if _, err := b.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("a refused connection is open: %v", err)
			}
			return
		}
		if _, err := q.Accept(); err != nil {
			t.Fatal(err)
		}
		*held++
	}
	t.Errorf("%d connections and no end", limit)
}

// However much the sessions before it hold, the next one gets its part.
func TestShareStarvesNobody(t *testing.T) {
	share := intake.NewShare(96, slog.New(slog.DiscardHandler))
	held := make([]int, 4)
	var first *intake.Queue
	for i, want := range []int{48, 24, 12, 6} {
		q := intake.NewQueue()
		if i == 0 {
			first = q
		}
		share.Join(func() int { return held[i] }, q)
		fill(t, q, &held[i], 96)
		if held[i] != want {
			t.Errorf("session %d holds %d connections, want %d", i, held[i], want)
		}
	}
	held[0] = 0 // the greedy one's ended
	fill(t, first, &held[0], 96)
	if held[0] < 24 {
		t.Errorf("what was given back is not given out: %d", held[0])
	}
}

func TestShareCountsWhatWaits(t *testing.T) {
	share := intake.NewShare(8, slog.New(slog.DiscardHandler))
	q := intake.NewQueue()
	share.Join(func() int { return 0 }, q)
	taken := 0
	for range 8 {
		a, b := net.Pipe()
		defer b.Close()
		if q.Put(a) {
			taken++
		}
	}
	if taken != 4 {
		t.Errorf("%d wait, want 4", taken)
	}
	_ = q.Close()
	other := intake.NewQueue()
	share.Join(func() int { return 0 }, other)
	if share.Join(func() int { return 8 }, q); !other.Put(pipe(t)) {
		t.Error("a closed queue still counts")
	}
	_ = other.Close()
}

// However a session's connections come, they are one part.
func TestShareCountsSessions(t *testing.T) {
	share := intake.NewShare(8, slog.New(slog.DiscardHandler))
	one, two, other := intake.NewQueue(), intake.NewQueue(), intake.NewQueue()
	share.Join(func() int { return 0 }, one, two)
	share.Join(func() int { return 0 }, other)
	kept := 0
	for range 8 {
		for _, q := range []*intake.Queue{one, two} {
			if q.Put(pipe(t)) {
				kept++
			}
		}
	}
	if kept != 4 {
		t.Errorf("one session has %d, want 4", kept)
	}
	_ = one.Close()
	if two.Put(pipe(t)); !other.Put(pipe(t)) {
		t.Error("nothing is left for the other")
	}
	_, _ = two.Close(), other.Close()
}

// A queue that nobody accepts from makes nobody wait, and keeps a bounded number.
func TestQueueNeverBlocks(t *testing.T) {
	q := intake.NewQueue()
	kept := 0
	for range 2000 {
		if q.Put(pipe(t)) {
			kept++
		}
	}
	if kept != 1024 {
		t.Errorf("%d wait", kept)
	}
	_ = q.Close()
}

func pipe(t *testing.T) net.Conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a
}

// Clients that connect and say nothing lose their place to those that speak.
func TestSilentClientsKeepNobodyOut(t *testing.T) {
	p := open(t, "tcp")
	var silent []net.Conn
	for range 4 * waiting {
		silent = append(silent, p.dial(t))
	}
	say(t, p.dial(t), "GET http://a.test/ HTTP/1.1\r\n\r\n")
	(<-p.direct).Close()
	hear(t, silent[0]) // closed
}

// TestShareSaysSo: what is closed is said, once for a flood.
func TestShareSaysSo(t *testing.T) {
	var said strings.Builder
	share := intake.NewShare(2, slog.New(slog.NewTextHandler(&said, nil)))
	q := intake.NewQueue()
	defer q.Close()
	share.Join(func() int { return 0 }, q)
	closed := 0
	for range 50 {
		a, b := net.Pipe()
		defer a.Close()
		if !q.Put(b) {
			closed++
		}
	}
	if closed == 0 || strings.Count(said.String(), "level=WARN") != 1 || !strings.Contains(said.String(), "max_total_connections=2") {
		t.Errorf("%d closed\n%s", closed, said.String())
	}
}

// TestShareOnASlowLog: a log that takes no more holds up nobody else.
func TestShareOnASlowLog(t *testing.T) {
	full := &fullLog{asked: make(chan struct{}), gate: make(chan struct{})}
	share := intake.NewShare(2, slog.New(slog.NewTextHandler(full, nil)))
	one, two := intake.NewQueue(), intake.NewQueue()
	share.Join(func() int { return 0 }, one)
	share.Join(func() int { return 0 }, two)
	one.Put(pipe(t))
	var wg sync.WaitGroup
	wg.Go(func() { one.Put(pipe(t)) })
	<-full.asked
	put := make(chan bool, 1)
	wg.Go(func() { put <- two.Put(pipe(t)) })
	select {
	case <-put:
	case <-time.After(20 * time.Second):
		t.Error("all wait for the log")
	}
	close(full.gate)
	wg.Wait()
	_, _ = one.Close(), two.Close()
}

// fullLog takes nothing until gate is closed.
type fullLog struct {
	once        sync.Once
	asked, gate chan struct{}
}

func (l *fullLog) Write(b []byte) (int, error) {
	l.once.Do(func() { close(l.asked) })
	<-l.gate
	return len(b), nil
}
