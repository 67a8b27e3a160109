// Package websocket sees to it that after an upgrade to WebSocket nothing but
// WebSocket frames pass (RFC 6455, with permessage-deflate of RFC 7692): the
// connection is no tunnel for other protocols. It looks at frame headers as they
// stream by and keeps no payload but a Close frame's; what messages say, and in
// what encoding, is the endpoints' business (RFC 6455, section 8.1).
package websocket

import (
	"encoding/binary"
	"unicode/utf8"
)

// Side is who sends.
type Side uint8

// The sides. A client masks its frames, a server does not.
const (
	Client Side = iota
	Server
)

// Error says why bytes are no WebSocket frames; Why quotes nothing of them. Code is
// what to close the connection with, 0 if its sender is gone.
type Error struct {
	From Side
	Code uint16
	Why  string
}

// The codes by which a connection ends here (RFC 6455, section 7.4.1).
const (
	CodeProtocol uint16 = 1002
	CodeEncoding uint16 = 1007
	CodeUpstream uint16 = 1011 // for a client whose server broke the protocol
)

func (e *Error) Error() string { return "websocket: " + e.said() }

// said is the reason that a Close frame gives.
func (e *Error) said() string {
	if e.From == Client {
		return "the client: " + e.Why
	}
	return "the server: " + e.Why
}

// maxHead is the longest that is kept: a Close frame, or the header of another.
const maxHead = 2 + 4 + maxSignal

const (
	final     = 0x80
	rsv1      = 0x40
	rsv23     = 0x30
	opText    = 0x1
	opBinary  = 0x2
	opClose   = 0x8
	opPing    = 0x9
	opPong    = 0xa
	maskBit   = 0x80
	maxSignal = 125 // payload of a control frame
)

// Validator reads one direction of a WebSocket connection. The zero value is a
// client's without extensions.
type Validator struct {
	From    Side
	Deflate bool // permessage-deflate was agreed on

	head    [maxHead]byte // of the frame that is being read
	have    int           // bytes of head
	payload uint64        // bytes of the current frame still to come
	message bool          // a fragmented message is under way
	closed  bool          // a Close frame went by
	late    bool          // something came after it
	failed  *Error
}

// Closed reports whether the sender has sent its Close frame.
func (v *Validator) Closed() bool { return v.closed }

// Late returns an error if anything was dropped that came after the Close frame.
func (v *Validator) Late() *Error {
	if !v.late {
		return nil
	}
	return &Error{v.From, 0, "it sent more after its Close frame"}
}

// Held returns the bytes of a frame header that has begun in a former piece and
// is not complete. They are to be sent before the next piece's.
func (v *Validator) Held() []byte { return v.head[:v.have] }

// Check reads the next piece and returns how many of its bytes, from the start,
// may be sent. The rest is the beginning of a frame header: it is kept, and Held
// before the next Check is what to send ahead of that piece, if that says so by
// whole. What comes after a Close frame is for nobody (RFC 6455, section 1.4): it
// counts for the rest, but is not kept. An error is an *Error, and final; the bytes
// before it may be sent.
func (v *Validator) Check(p []byte) (n int, whole bool, err error) {
	if v.failed != nil {
		return 0, false, v.failed
	}
	whole = v.have == 0
	for n < len(p) {
		if v.payload > 0 {
			m := min(v.payload, uint64(len(p)-n))
			v.payload -= m
			n += int(m)
			continue
		}
		if v.closed {
			v.late = true
			return n, whole, nil
		}
		at := n
		done, err := v.header(p, &at)
		if err != nil {
			return n, whole, err
		}
		if !done {
			return n, whole, nil
		}
		n, whole = at, true
	}
	return n, whole, nil
}

// header reads a frame header from p[*at:]; false means that it is not complete.
func (v *Validator) header(p []byte, at *int) (bool, error) {
	for {
		need, err := v.need()
		if err != nil {
			return false, err
		}
		if v.have >= need {
			break
		}
		m := copy(v.head[v.have:need], p[*at:])
		v.have += m
		if *at += m; v.have < need {
			_, err := v.need()
			return false, err
		}
	}
	return true, v.frame()
}

// need returns how much of head there must be, as far as known, and refuses what
// the bytes there are already show to be wrong.
func (v *Validator) need() (int, error) {
	if v.have < 2 {
		if v.have == 1 {
			return 2, v.first()
		}
		return 2, nil
	}
	if err := v.first(); err != nil {
		return 0, err
	}
	n := 2
	switch size := v.head[1] &^ maskBit; size {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	masked := v.head[1]&maskBit != 0
	if masked != (v.From == Client) {
		return 0, v.fail("a frame is masked as the other side's")
	}
	if masked {
		n += 4
	}
	if v.head[0]&0x8 != 0 {
		size := v.head[1] &^ maskBit
		if size > maxSignal {
			return 0, v.fail("a control frame is too long")
		}
		if v.opcode() == opClose {
			n += int(size)
		}
	}
	return n, nil
}

func (v *Validator) opcode() byte { return v.head[0] & 0xf }

// first judges the first byte of a header.
func (v *Validator) first() error {
	b := v.head[0]
	switch v.opcode() {
	case 0:
		if !v.message {
			return v.fail("a continuation without a message")
		}
	case opText, opBinary:
		if v.message {
			return v.fail("a message begins within another")
		}
	case opClose, opPing, opPong:
		if b&final == 0 {
			return v.fail("a control frame is fragmented")
		}
	default:
		return v.fail("a reserved opcode")
	}
	starts := v.opcode() == opText || v.opcode() == opBinary
	if b&rsv23 != 0 || b&rsv1 != 0 && !(v.Deflate && starts) {
		return v.fail("a reserved bit")
	}
	return nil
}

// frame takes a complete header.
func (v *Validator) frame() error {
	size, at := uint64(v.head[1]&^maskBit), 2
	switch size {
	case 126:
		size, at = uint64(binary.BigEndian.Uint16(v.head[2:])), 4
		if size < 126 {
			return v.fail("a length is not in its shortest form")
		}
	case 127:
		size, at = binary.BigEndian.Uint64(v.head[2:]), 10
		if size < 1<<16 {
			return v.fail("a length is not in its shortest form")
		}
		if size>>63 != 0 {
			return v.fail("a length is out of range")
		}
	}
	switch op := v.opcode(); op {
	case opClose:
		if err := v.close(int(size), at); err != nil {
			return err
		}
		v.closed = true
		size = 0 // it is in head
	case opPing, opPong:
	default:
		v.message = v.head[0]&final == 0
	}
	v.payload, v.have = size, 0
	return nil
}

// close judges the code of a Close frame (RFC 6455, section 7.4) and its reason.
func (v *Validator) close(size, at int) error {
	if size == 0 {
		return nil
	}
	if size == 1 {
		return v.fail("a Close frame has half a code")
	}
	var body [maxSignal]byte
	b := body[:size]
	if v.From == Client {
		mask := v.head[at : at+4]
		at += 4
		for i := range b {
			b[i] = v.head[at+i] ^ mask[i%4]
		}
	} else {
		copy(b, v.head[at:])
	}
	if !mayBeSent(binary.BigEndian.Uint16(b)) {
		return v.fail("a Close frame has a code that must not be sent")
	}
	if !utf8.Valid(b[2:]) {
		return v.failWith(CodeEncoding, "the reason of a Close frame is not UTF-8")
	}
	return nil
}

func mayBeSent(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

// End reports whether the stream may end here: not within a frame.
func (v *Validator) End() error {
	if v.failed != nil {
		return v.failed
	}
	if v.payload > 0 || v.have > 0 {
		return v.failWith(0, "it ends within a frame")
	}
	return nil
}

func (v *Validator) fail(why string) error { return v.failWith(CodeProtocol, why) }

func (v *Validator) failWith(code uint16, why string) error {
	v.failed = &Error{v.From, code, why}
	return v.failed
}
