package carry_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestChaos ends pairs in every way at every time, many at once. Whatever arrives
// is what that pair was given, from the beginning and in order; what the pair says
// it carried is no less than what arrived; and each is done once. More rounds by
// hand: FIRMA_CHAOS=1000.
func TestChaos(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("FIRMA_CHAOS"))
	for round := range max(rounds, 2) {
		var wg sync.WaitGroup
		for i := range 60 {
			seed := uint64(round)<<16 | uint64(i)
			w := begin(t, []string{"tcp", "unix"}[i%2])
			wg.Go(func() { w.torment(t, seed) })
		}
		wg.Wait()
	}
}

func (w *world) torment(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	var wg sync.WaitGroup
	var got [2]int64
	begun := make(chan int64, 2) // where each stream begins that is carried
	for i, way := range [...][2]socket{{w.agent, w.origin}, {w.origin, w.agent}} {
		stream := seed<<1 | uint64(i)
		n, manner, slow := rng.IntN(1<<(4+rng.IntN(18))), rng.IntN(6), rng.IntN(3) == 0
		wg.Go(func() { speak(way[0], stream, n, manner) })
		wg.Go(func() {
			from := int64(0)
			if i == 0 {
				from = <-begun
			}
			got[i] = listen(t, way[1], stream, from, slow)
		})
	}
	taste := rand.New(rand.NewPCG(seed, 3))
	wg.Go(func() {
		begun <- w.taste(t, seed<<1, taste)
		w.pair.Send()
	})
	if rng.IntN(3) == 0 {
		for range 2 {
			wg.Go(func() { w.pair.Cut(errors.ErrUnsupported) })
		}
	}
	w.over(t)
	wg.Wait()
	w.agent.Close()
	w.origin.Close()
	if len(w.done) != 0 {
		t.Error("done was called again")
	}
	if s, r := w.pair.Sent.Load(), w.pair.Received.Load(); s < got[0] || r < got[1] {
		t.Errorf("%d and %d bytes arrived, %d and %d are said to be carried", got[0], got[1], s, r)
	}
}

// taste reads some of what the client begins with, as whoever judges it does, and
// returns how much. It may leave something that was waited for.
func (w *world) taste(t *testing.T, stream uint64, rng *rand.Rand) (n int64) {
	_ = w.client.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	defer w.client.SetReadDeadline(time.Time{})
	b := make([]byte, 1+rng.IntN(8<<10))
	for range rng.IntN(4) {
		if rng.IntN(2) == 0 && w.client.AwaitRead() != nil || rng.IntN(2) == 0 {
			return n
		}
		m, err := w.client.Read(b)
		for i := range b[:m] {
			if b[i] != content(stream, int(n)+i) {
				t.Errorf("stream %d: byte %d is not what was sent", stream, int(n)+i)
			}
		}
		if n += int64(m); err != nil {
			return n
		}
	}
	return n
}

// speak sends n bytes of a stream, and ends that in some manner.
func speak(c socket, stream uint64, n, manner int) {
	rng := rand.New(rand.NewPCG(stream, 1))
	for at := 0; at < n; {
		b := make([]byte, min(n-at, 1+rng.IntN(1<<(1+rng.IntN(18)))))
		for i := range b {
			b[i] = content(stream, at+i)
		}
		m, err := 0, error(nil)
		if local, ok := c.(*net.UnixConn); ok && rng.IntN(4) == 0 {
			m, _, err = local.WriteMsgUnix(b[:min(len(b), 4<<10)], syscall.UnixRights(0), nil)
		} else {
			m, err = c.Write(b)
		}
		if at += m; err != nil {
			return
		}
	}
	switch manner {
	case 0:
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	case 1:
		c.Close()
	default:
		c.CloseWrite()
	}
}

// listen returns how much of the stream arrived, which begins somewhere.
func listen(t *testing.T, c socket, stream uint64, from int64, slow bool) (n int64) {
	rng := rand.New(rand.NewPCG(stream, 2))
	b := make([]byte, 64<<10)
	for {
		most := len(b)
		if slow {
			most = 1 + rng.IntN(2048)
		}
		m, err := c.Read(b[:most])
		for i := range b[:m] {
			if b[i] != content(stream, int(from+n)+i) {
				t.Errorf("stream %d: byte %d is not what was sent", stream, int(from+n)+i)
				return n
			}
		}
		if n += int64(m); err != nil {
			if err != io.EOF && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("stream %d hangs after %d bytes", stream, n)
			}
			return n
		}
	}
}

// content is the byte of a stream at a place.
func content(stream uint64, at int) byte {
	x := (stream<<32 + uint64(at)) * 0x9e3779b97f4a7c15
	return byte(x >> 56)
}
