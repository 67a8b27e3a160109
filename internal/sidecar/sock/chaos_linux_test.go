package sock_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firma/internal/sidecar/sock"
)

// rounds is how often chaos is made; more by hand: FIRMA_CHAOS=1000.
func rounds(few int) int {
	n, _ := strconv.Atoi(os.Getenv("FIRMA_CHAOS"))
	return max(n, few)
}

// half is a connection one of whose directions can end.
type half interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// TestChaos reads, writes, moves deadlines and closes at random, all at once. What
// arrives is what was sent, from the beginning and in order; all of it unless somebody
// cut it short; and nobody waits for ever.
func TestChaos(t *testing.T) {
	before := descriptors(t)
	for round := range rounds(2) {
		t.Run("", func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 40 {
				seed := uint64(round)<<16 | uint64(i)
				near, far := both(t, []string{"tcp", "unix"}[i%2])
				wg.Go(func() { torment(t, near.(*sock.Conn), farHalf(t, far), seed) })
			}
			wg.Wait()
		})
	}
	if after := descriptors(t); after > before+10 { // the event loops stay
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func torment(t *testing.T, near *sock.Conn, far half, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	hang := time.AfterFunc(60*time.Second, func() {
		t.Errorf("seed %d hangs", seed)
		near.Close()
		far.Close()
	})
	defer hang.Stop()
	sizes := [2]int{rng.IntN(1 << (4 + rng.IntN(18))), rng.IntN(1 << (4 + rng.IntN(18)))}
	manner, cut := rng.IntN(6), rng.IntN(3) == 0
	whole := !cut && manner > 1
	var over atomic.Bool
	var wg, movers sync.WaitGroup
	var got [2]int
	wg.Go(func() { tell(near, seed<<1, sizes[0], 2) })
	wg.Go(func() { tell(far, seed<<1|1, sizes[1], manner) })
	wg.Go(func() { got[0] = hear(t, far, seed<<1) })
	wg.Go(func() { got[1] = hear(t, near, seed<<1|1) })
	for i := range 2 {
		movers.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 10+uint64(i)))
			for !over.Load() {
				disturb(near, rng)
				time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
			}
		})
	}
	if cut {
		wg.Go(func() {
			time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
			near.Close()
		})
	}
	wg.Wait()
	over.Store(true)
	movers.Wait()
	near.Close()
	far.Close()
	if whole && got != sizes {
		t.Errorf("seed %d: %d bytes arrived, %d were sent", seed, got, sizes)
	}
}

// disturb does what changes nothing, but may make an operation fail as late.
func disturb(c *sock.Conn, rng *rand.Rand) {
	moments := []time.Time{{}, time.Unix(1, 0), time.Now().Add(time.Duration(rng.IntN(3_000_000))), time.Now().Add(time.Hour)}
	at := moments[rng.IntN(len(moments))]
	switch rng.IntN(6) {
	case 0:
		_ = c.SetDeadline(at)
	case 1:
		_ = c.SetReadDeadline(at)
	case 2:
		_ = c.SetWriteDeadline(at)
	case 3:
		_, _ = c.LocalAddr(), c.RemoteAddr()
	case 4:
		raw, _ := c.SyscallConn()
		_ = raw.Write(func(uintptr) bool { return true })
	case 5:
		if fd, ok := c.Use(); ok {
			_, _ = sock.Peek(fd, make([]byte, 1))
			c.Done()
		}
	}
	_ = c.SetDeadline(time.Time{}) // so that not all fail
}

// tell sends n bytes of a stream, again after being late, and ends that in some manner.
func tell(c half, stream uint64, n, manner int) {
	rng := rand.New(rand.NewPCG(stream, 1))
	for at := 0; at < n; {
		b := make([]byte, min(n-at, 1+rng.IntN(1<<(1+rng.IntN(18)))))
		for i := range b {
			b[i] = content(stream, at+i)
		}
		m, err := 0, error(nil)
		if v, ok := c.(*sock.Conn); ok && rng.IntN(2) == 0 {
			i := rng.IntN(len(b))
			m, err = v.WriteBuffers(b[:i], nil, b[i:])
		} else {
			m, err = c.Write(b)
		}
		if at += m; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	switch manner {
	case 0:
		if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	case 1:
		c.Close()
	default:
		_ = c.CloseWrite()
	}
}

// hear returns how much of the stream arrived.
func hear(t *testing.T, c net.Conn, stream uint64) (n int) {
	rng := rand.New(rand.NewPCG(stream, 2))
	b := make([]byte, 64<<10)
	for {
		if v, ok := c.(*sock.Conn); ok && rng.IntN(2) == 0 {
			_ = v.AwaitRead()
		}
		m, err := c.Read(b[:1+rng.IntN(1<<(1+rng.IntN(16)))])
		for i := range b[:m] {
			if b[i] != content(stream, n+i) {
				t.Errorf("stream %d: byte %d is not what was sent", stream, n+i)
				return n
			}
		}
		if n += m; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
	}
}

// content is the byte of a stream at a place.
func content(stream uint64, at int) byte {
	x := (stream<<32 + uint64(at)) * 0x9e3779b97f4a7c15
	return byte(x >> 56)
}
