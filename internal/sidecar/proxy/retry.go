package proxy

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"firma/internal/sidecar/hello"
	"firma/internal/verdict"
)

// What is known of the upstream's answer to a tunnel's ClientHello. It may ask for a
// second one (RFC 8446, section 4.1.4), which is judged as the first was: which of
// them a server goes by is its affair.
const (
	unanswered int32 = iota
	settled          // no second one is asked for, or it was judged
	retried          // one is asked for
	loose            // the client did not wait, and went on with what is no TLS
)

type answer struct {
	state  atomic.Int32
	pieces []byte // of its beginning, while that is too short to tell
}

// settled reports whether nothing more is to be looked at.
func (o *opening) settled() bool {
	s := o.answer.state.Load()
	return o.first == 0 || s == settled || s == loose
}

const secondHello = "after the first ClientHello: "

// hear looks at a piece of what the upstream sends, nil for its end, until it says
// that there is no more to find out. refused: what the client did was wrong.
func (o *opening) hear(piece []byte) (more bool, refused string) {
	a := &o.answer
	if piece == nil {
		a.state.CompareAndSwap(unanswered, settled)
		return false, ""
	}
	if len(a.pieces) > 0 {
		a.pieces = append(a.pieces, piece...)
		piece = a.pieces
	}
	again, more := hello.Retries(piece)
	switch {
	case more && len(a.pieces) == 0:
		a.pieces = slices.Clone(piece)
	case more:
	case !again:
		a.state.CompareAndSwap(unanswered, settled)
	case !a.state.CompareAndSwap(unanswered, retried) && a.state.Load() == loose:
		return false, secondHello + "the server asks for a second one, and the client has gone on with something else"
	}
	return more, ""
}

// overhear is hear for a pair.
func (t *tunnel) overhear(o *opening, piece []byte) bool {
	more, refused := o.hear(piece)
	if refused != "" {
		t.parts.Add(1)
		go func() {
			defer t.part()
			t.refused = refused
			t.abort()
		}()
	}
	return more
}

// overheard is the upstream, whose beginning is looked at.
func (t *tunnel) overheard() io.Reader {
	if t.opening == nil {
		return t.upstream
	}
	return &overheard{t.upstream, t, t.opening}
}

type overheard struct {
	net.Conn
	t *tunnel
	o *opening // nil once there is no more to find out
}

func (r *overheard) Read(b []byte) (n int, err error) {
	n, err = r.Conn.Read(b)
	if r.o == nil {
		return n, err
	}
	piece := b[:n]
	if n == 0 {
		piece = nil
	}
	more, refused := r.o.hear(piece)
	if !more {
		r.o = nil
	}
	if refused != "" {
		r.t.refused = refused
		r.t.abort()
	}
	return n, err
}

// send has the pair carry what the client sends. Until the upstream has answered a
// ClientHello, or if it asks for a second one, what comes next is looked at first.
func (t *tunnel) send() {
	o := t.opening
	if o == nil || o.settled() {
		t.opening = nil
		t.pair.Send()
		return
	}
	t.pair.SendIf(func() bool {
		if o.settled() {
			t.opening = nil
			return true
		}
		t.parts.Add(1)
		go t.resume(o)
		return false
	})
}

// resume looks at what the client sends, which there is.
func (t *tunnel) resume(o *opening) {
	on := false
	defer func() {
		if !on {
			t.abort()
		}
		t.part()
	}()
	defer t.srv.recover("tunnel")
	if on = t.next(o); on {
		t.send()
	}
}

// attend waits for what the client sends, which a pair does without, until nothing
// more is to be looked at.
func (t *tunnel) attend() bool {
	for o := t.opening; o != nil && !o.settled(); {
		if !t.next(o) {
			return false
		}
	}
	return true
}

// next looks at what the client sends next; false ends the tunnel.
func (t *tunnel) next(o *opening) bool {
	defer o.in.Release()
	if err := o.in.Fill(); err != nil {
		return t.interrupted(o, err)
	}
	return t.follow(o)
}

// interrupted is told what ended the client between two messages. Unless that must
// end the tunnel, carrying it will find the same.
func (t *tunnel) interrupted(o *opening, err error) bool {
	switch {
	case isTimeout(err): // a deadline of others; nothing is carried unread
		return t.may(lateHello, o)
	case errors.Is(err, net.ErrClosed):
		return false
	case !isGone(err):
		return t.may(unreadable, o)
	}
	o.answer.state.Store(settled)
	return true
}

// follow looks at what was read behind the ClientHello and passes it on; false ends
// the tunnel. If the opening is not settled then, what comes next is to be looked at,
// too.
func (t *tunnel) follow(o *opening) bool {
	if len(o.ahead()) == 0 {
		return t.pass(o, 0)
	}
	defer t.client.SetReadDeadline(time.Time{})
	for !o.settled() {
		b := o.ahead()
		if len(b) == 0 {
			return t.pass(o, 0)
		}
		t.client.SetReadDeadline(time.Now().Add(t.srv.cfg.HeadTimeout))
		size, more := hello.Passing(b)
		switch {
		case more:
			if !t.pass(o, 0) {
				return false
			}
			if err := o.in.Fill(); err != nil {
				return t.may(o.late(err), o)
			}
		case size > 0:
			if !t.passRecord(o, size) {
				return false
			}
		case !t.second(o):
			return false
		}
	}
	return t.pass(o, len(o.ahead()))
}

// passRecord passes on what may stand before a second ClientHello; false ends the
// tunnel.
func (t *tunnel) passRecord(o *opening, size int) bool {
	t.client.SetReadDeadline(time.Time{})
	for {
		n := min(size, len(o.ahead()))
		o.due += n
		if size -= n; size == 0 {
			return true
		}
		if !t.pass(o, 0) {
			return false
		}
		if err := o.in.Fill(); err != nil {
			return t.interrupted(o, err)
		}
	}
}

// second judges what must be a second ClientHello, if it is TLS or one is asked for.
func (t *tunnel) second(o *opening) bool {
	sort := hello.SortOf(o.ahead())
	if sort != hello.Foreign && !t.pass(o, 0) {
		return false
	}
	for ; sort == hello.Unclear; sort = hello.SortOf(o.in.Buffered()) {
		if err := o.in.Fill(); err != nil {
			return t.may(o.late(err), o)
		}
	}
	if sort == hello.Foreign && !o.accepts.Has(verdict.AcceptNonTLS) && o.answer.state.CompareAndSwap(unanswered, loose) {
		return true // no server takes it for a hello; and if one is asked for, that is the end
	}
	if !t.pass(o, 0) {
		return false
	}
	h, err := readHello(o.in)
	switch {
	case err == nil:
		if refused := o.judge(&h); refused != "" {
			return t.may(secondHello+refused, o)
		}
		if !t.pass(o, h.Size) {
			return false
		}
		o.answer.state.Store(settled)
		return true
	case !isHello(err):
		return t.may(o.late(err), o)
	case o.settled():
		return true
	case o.accepts.Has(verdict.AcceptNonTLS):
		o.answer.state.Store(settled)
		return true
	}
	return t.may(secondHello+why(err), o)
}
