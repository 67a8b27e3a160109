// Package websocket sees to it that after an upgrade to WebSocket nothing but
// WebSocket frames pass (RFC 6455, with permessage-deflate of RFC 7692): the
// connection is no tunnel for other protocols. It looks at frame headers as they
// stream by and keeps no payload; what messages say is the endpoints' business.
package websocket

import "encoding/binary"

// Side is who sends.
type Side uint8

// The sides. A client masks its frames, a server does not.
const (
	Client Side = iota
	Server
)

// Error says why bytes are no WebSocket frames; Why quotes nothing of them.
type Error struct {
	From Side
	Why  string
}

func (e *Error) Error() string {
	if e.From == Client {
		return "websocket: the client: " + e.Why
	}
	return "websocket: the server: " + e.Why
}

// maxHead is the longest frame header, with the code of a Close frame behind it.
const maxHead = 14 + 2

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
	failed  *Error
}

// Closed reports whether the sender has sent its Close frame.
func (v *Validator) Closed() bool { return v.closed }

// Held returns the bytes of a frame header that has begun in a former piece and
// is not complete. They are to be sent before the next piece's.
func (v *Validator) Held() []byte { return v.head[:v.have] }

// Check reads the next piece and returns how many of its bytes, from the start,
// may be sent. The rest is the beginning of a frame header: it is kept, and Held
// before the next Check is what to send ahead of that piece, if that says so by
// whole. An error is an *Error, and final; the bytes before it may be sent.
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
	if v.closed {
		return false, v.fail("it sends more after its Close frame")
	}
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
			n += int(min(size, 2))
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
		size -= min(size, 2) // it is in head
	case opPing, opPong:
	default:
		v.message = v.head[0]&final == 0
	}
	v.payload, v.have = size, 0
	return nil
}

// close judges the code of a Close frame (RFC 6455, section 7.4).
func (v *Validator) close(size, at int) error {
	v.closed = true
	if size == 0 {
		return nil
	}
	if size == 1 {
		return v.fail("a Close frame has half a code")
	}
	var mask [2]byte
	if v.From == Client {
		copy(mask[:], v.head[at:])
		at += 4
	}
	code := int(v.head[at]^mask[0])<<8 | int(v.head[at+1]^mask[1])
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return nil
	}
	return v.fail("a Close frame has a code that must not be sent")
}

// End reports whether the stream may end here: not within a frame.
func (v *Validator) End() error {
	if v.failed != nil {
		return v.failed
	}
	if v.payload > 0 || v.have > 0 {
		return v.fail("it ends within a frame")
	}
	return nil
}

func (v *Validator) fail(why string) error {
	v.failed = &Error{v.From, why}
	return v.failed
}
