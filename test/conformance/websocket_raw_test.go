package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// pace is how fast the two sides are.
type pace byte

const (
	fast pace = iota
	slow
	byByte
)

func (p pace) String() string { return [...]string{"fast", "slow", "byte by byte"}[p] }

// pieces cuts what a case sends as its sender writes it.
func (p pace) pieces(c *wsCase, list []frame, client bool) (all [][]byte) {
	b := wireOf(list, client)
	cut := func(n int) {
		n = min(n, len(b))
		if all = append(all, b[:n]); n > 0 {
			b = b[n:]
		}
	}
	switch {
	case c.chop > 0 || p == fast:
		for n := c.chop; n > 0 && len(b) > n; {
			cut(n)
		}
		cut(len(b))
	case p == slow:
		rng := rand.New(rand.NewPCG(uint64(len(b)), 1))
		for most := 1 + len(b)/8; len(b) > 0; {
			cut(1 + rng.IntN(most))
		}
	default: // of a long payload only the first and last bytes
		for _, f := range list {
			n, head := len(f.payload), f.header(client)
			for range head + min(n, 3) {
				cut(1)
			}
			if n > 64 {
				cut(n - 6)
				n = 6
			}
			for range max(n-3, 0) {
				cut(1)
			}
		}
	}
	return all
}

// slowReader takes little at a time.
type slowReader struct{ io.Reader }

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(50 * time.Microsecond)
	return r.Reader.Read(p[:min(len(p), 1+len(p)/16)])
}

// seen is what came at one end: the bytes, the frames, and how it ended.
type seen struct {
	raw    bytes.Buffer
	frames []frame
	masked bool // some frame was
	err    error
}

// watch reads frames until the end. At a Close frame it ends what it sends, as an
// endpoint does, with one of its own if it has not sent one; once answers is closed.
func watch(s socket, p pace, client bool, answers <-chan struct{}) *seen {
	var v seen
	in := io.Reader(s)
	if p == slow {
		in = slowReader{s}
	}
	r := bufio.NewReader(io.TeeReader(in, &v.raw))
	for {
		f, masked, err := readFrame(r)
		if err != nil {
			v.err = err
			return &v
		}
		v.frames = append(v.frames, f)
		v.masked = v.masked || masked
		if f.first == fin|clos {
			if answers != nil {
				<-answers
				s.Write(frame{first: fin | clos, payload: f.payload[:min(len(f.payload), 2)]}.wire(client))
			}
			s.CloseWrite()
		}
	}
}

// runRaw has one side send what a case says, and judges what comes of it at both.
func (x *world) runRaw(t *testing.T, o *origin, c wsCase, client bool, p pace) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s, %s, from the client: %v, %s: %s", c.id, x.name, client, p, fmt.Sprintf(format, args...))
	}
	fields := http.Header{}
	if c.deflate {
		fields["Sec-WebSocket-Extensions"] = []string{"permessage-deflate"}
	}
	resp, agent, err := x.open("/", fields)
	if err != nil || agent == nil {
		fail("%v, %v", resp, err)
		if resp != nil {
			io.Copy(os.Stderr, resp.Body)
		}
		t.FailNow()
	}
	far := within(t, o.opened)
	hurry := time.AfterFunc(patience, func() {
		agent.Close()
		far.Close()
	})
	defer hurry.Stop()
	sender, receiver := agent, far
	if !client {
		sender, receiver = far, agent
	}

	list, ends := c.frames, c.pass < len(c.frames) && c.code == 0 || c.code == 0 && c.frames[c.pass-1].first == fin|clos
	if c.code == 0 && !ends {
		list, c.pass, ends = append(list[:len(list):len(list)], closing(1000, "bye")), c.pass+1, true
	}
	at, sent := make(chan struct{}), make(chan struct{})
	close(at)
	answers := at // at once
	if c.pass < len(c.frames) && c.code == 0 {
		answers = sent // or what is late would find nobody there
	}
	var wg sync.WaitGroup
	var there, back *seen
	wg.Go(func() { there = watch(receiver, p, !client, answers); receiver.Close() })
	wg.Go(func() {
		defer close(sent)
		for _, b := range p.pieces(&c, list, client) {
			if _, err := sender.Write(b); err != nil && c.code == 0 {
				fail("sending: %v", err)
			}
			if p == slow {
				time.Sleep(50 * time.Microsecond)
			}
		}
	})
	if ends {
		at = nil // it has said goodbye
	}
	wg.Go(func() { back = watch(sender, fast, client, at) })
	wg.Wait()
	sender.Close()
	d := within(t, x.ended)

	want := wireOf(list[:c.pass], client)
	arrived, rest := there.raw.Bytes(), []byte(nil)
	if len(arrived) >= len(want) {
		arrived, rest = arrived[:len(want)], arrived[len(want):]
	}
	if !bytes.Equal(arrived, want) {
		fail("of %d bytes %d arrived: %s", len(want), len(arrived), frames(there.frames))
	}
	if got := closeCode(back); ends && got != list[c.pass-1].code() || !ends && got != c.code {
		fail("the sender got %s", frames(back.frames))
	}
	told := c.code > 0 && !client // a client whose server broke the protocol is told
	switch {
	case !told && len(rest) > 0:
		fail("%q arrived", rest)
	case told && closeCode(there) != 1011:
		fail("the client got %s", frames(there.frames))
	}
	if back.masked == client || there.masked != client && len(there.frames) > 0 {
		fail("a frame is masked as the other side's")
	}
	x.judge(fail, &c, client, ends, d)
}

// judge looks at what was recorded.
func (x *world) judge(fail func(string, ...any), c *wsCase, client, ends bool, d proxy.Dispatch) {
	side := map[bool]string{true: "the client: ", false: "the server: "}[client]
	switch {
	case ends && c.pass >= len(c.frames):
		if d.Abort != verdict.None {
			fail("recorded as %+v", d)
		}
	case ends && d.Abort == verdict.None: // what was late may have come when all was over
	case d.Abort != verdict.ConnectorFailure || !strings.Contains(d.Detail, side):
		fail("recorded as %+v", d)
	}
}

func closeCode(s *seen) int {
	for _, f := range s.frames {
		if f.first == fin|clos {
			return f.code()
		}
	}
	return -1
}

func within[T any](t *testing.T, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

// TestWebSocketFrames: every case, by every way, from both sides, at every pace.
func TestWebSocketFrames(t *testing.T) {
	cases := wsCases()
	count := map[string]int{}
	for _, c := range cases {
		count[c.class()]++
	}
	t.Logf("%d cases by class: %v", len(cases), count)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t, w)
			o.answer = func(r *http.Request) http.Header {
				return http.Header{"Sec-Websocket-Extensions": r.Header["Sec-Websocket-Extensions"]}
			}
			x := newWorld(t, w, o.dialer)
			for _, c := range cases {
				for _, client := range []bool{true, false} {
					for _, p := range []pace{fast, slow, byByte} {
						if x.runRaw(t, o, c, client, p); t.Failed() && testing.Short() {
							return
						}
					}
				}
			}
		})
	}
}
