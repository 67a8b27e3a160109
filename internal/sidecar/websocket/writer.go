package websocket

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"time"
)

// LateTime is how long the other side has to answer the Close frame of one that goes
// on sending after it.
const LateTime = 2 * time.Second

// Writer passes the frames of one side on to the other. It holds nothing back but
// the header of a frame until that is whole, so that not a byte of what is no
// frame gets through, and Close frames, which pass whole. It is not safe for
// concurrent use.
type Writer struct {
	Validator
	// OnLate is called once, when the first of what came after a Close frame was
	// dropped; it may be nil.
	OnLate func()

	to     io.Writer
	broken bool // to took something, but not all
}

// NewWriter returns a Writer for what from sends. deflate says that
// permessage-deflate was agreed on.
func NewWriter(to io.Writer, from Side, deflate bool) *Writer {
	return &Writer{Validator: Validator{From: from, Deflate: deflate}, to: to}
}

// Write passes p on. An *Error means that the sender broke the protocol, and is
// final: whole frames before that were passed on, nothing is from then on. Any
// other error is the destination's.
func (w *Writer) Write(p []byte) (int, error) {
	var held [maxHead]byte
	h := copy(held[:], w.Held())
	n, whole, bad := w.Check(p)
	if whole && h > 0 {
		if err := w.send(held[:h]); err != nil {
			return 0, err
		}
	}
	if n > 0 {
		if err := w.send(p[:n]); err != nil {
			return 0, err
		}
	}
	if bad != nil {
		return n, bad
	}
	if w.late && w.OnLate != nil {
		w.OnLate()
		w.OnLate = nil
	}
	return len(p), nil
}

func (w *Writer) send(p []byte) error {
	_, err := w.to.Write(p)
	if err != nil {
		w.broken = true
	}
	return err
}

// Tell ends what w passes on with a Close frame that says why the connection ends,
// where one can be sent: between two frames, and if there was none. Nothing passes
// after it. Who broke the protocol is told by the code; a client whose server did
// gets 1011. A server whose client did gets nothing that this has not sent.
func (w *Writer) Tell(e *Error) error {
	code := e.Code
	switch {
	case w.From == Server && e.From == Server:
		code = CodeUpstream
	case w.From == Client && e.From == Client:
		code = 0
	}
	if code == 0 || w.broken || w.closed || w.payload > 0 {
		return nil
	}
	w.closed = true
	return w.send(closeFrame(w.From, code, e.said()))
}

func closeFrame(from Side, code uint16, reason string) []byte {
	reason = reason[:min(len(reason), maxSignal-2)]
	b := append(make([]byte, 0, maxHead), final|opClose, byte(2+len(reason)))
	if from == Server {
		return append(binary.BigEndian.AppendUint16(b, code), reason...)
	}
	b[1] |= maskBit
	b = b[:6]
	rand.Read(b[2:])
	b = append(binary.BigEndian.AppendUint16(b, code), reason...)
	for i := range b[6:] {
		b[6+i] ^= b[2+i%4]
	}
	return b
}
