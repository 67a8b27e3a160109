package websocket

import "io"

// Writer passes the frames of one side on to the other. It holds nothing back but
// the header of a frame until that is whole, so that not a byte of what is no
// frame gets through. It is not safe for concurrent use.
type Writer struct {
	Validator
	to io.Writer
}

// NewWriter returns a Writer for what from sends. deflate says that
// permessage-deflate was agreed on.
func NewWriter(to io.Writer, from Side, deflate bool) *Writer {
	return &Writer{Validator{From: from, Deflate: deflate}, to}
}

// Write passes p on. An *Error means that the sender broke the protocol, and is
// final: whole frames before that were passed on, nothing is from then on. Any
// other error is the destination's.
func (w *Writer) Write(p []byte) (int, error) {
	var held [maxHead]byte
	h := copy(held[:], w.Held())
	n, whole, bad := w.Check(p)
	if whole && h > 0 {
		if _, err := w.to.Write(held[:h]); err != nil {
			return 0, err
		}
	}
	if n > 0 {
		if n, err := w.to.Write(p[:n]); err != nil {
			return n, err
		}
	}
	if bad != nil {
		return n, bad
	}
	return len(p), nil
}
