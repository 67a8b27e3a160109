package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"firma/internal/sidecar/allowance"
)

const (
	smallBuf = 4 << 10
	largeBuf = 32 << 10
	hugeBuf  = MaxHead + largeBuf // for heads only; not pooled
)

var (
	smallPool = sync.Pool{New: func() any { return new([smallBuf]byte) }}
	largePool = sync.Pool{New: func() any { return new([largeBuf]byte) }}
)

// What a buffer costs of an allowance: itself, and for a large one also what its
// content is put together in before it is written.
const (
	costLarge = largeBuf + 48<<10
	costHuge  = hugeBuf
)

var errFull = errors.New("http1: buffer is full")

// ErrNoRoom is Fill's error when a head needs a larger buffer than the allowance
// has room for.
var ErrNoRoom = errors.New("http1: no memory is left for a longer head")

// Reader buffers one direction of a connection. It starts with a small pooled
// buffer, takes a larger one while bodies stream or a head is long, and gives it
// back on Narrow.
type Reader struct {
	src  io.Reader
	buf  []byte
	r, w int
	busy bool            // the last read filled all the room there was
	held allowance.Claim // for what is more than a small buffer

	// The block of lines being scanned; offsets are relative to r.
	scanned int     // bytes looked at
	line    int     // start of the current line
	ends    []int32 // end of each complete line, without CRLF
	lined   bool    // the first line was looked at
}

// NewReader returns a reader of src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Within makes the reader's buffer part of a. It returns the reader.
func (r *Reader) Within(a *allowance.Bytes) *Reader {
	r.held = a.Claim()
	return r
}

// Reset makes the reader read src from now on; what is buffered is dropped.
func (r *Reader) Reset(src io.Reader) {
	r.Release()
	r.src = src
}

// Buffered returns the bytes read from the source and not consumed yet.
func (r *Reader) Buffered() []byte { return r.buf[r.r:r.w] }

// Discard consumes n of the buffered bytes.
func (r *Reader) Discard(n int) {
	r.r += n
	r.restartScan()
}

// Fill reads from the source once. It returns nil when the buffer grew and the
// source's error otherwise.
func (r *Reader) Fill() error {
	if err := r.makeRoom(); err != nil {
		return err
	}
	room := r.buf[r.w:]
	n, err := r.src.Read(room)
	r.w += n
	r.busy = n == len(room)
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (r *Reader) makeRoom() error {
	switch {
	case r.buf == nil:
		r.buf = smallPool.Get().(*[smallBuf]byte)[:]
	case r.r == r.w:
		r.r, r.w = 0, 0
		if r.busy && len(r.buf) == smallBuf && r.held.Hold(costLarge) {
			r.resize(largeBuf) // it is only faster
		}
	case r.w == len(r.buf) && r.r > 0:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	case r.w == len(r.buf):
		return r.grow()
	}
	return nil
}

func (r *Reader) grow() error {
	size, cost := largeBuf, costLarge
	switch len(r.buf) {
	case smallBuf:
	case largeBuf:
		size, cost = hugeBuf, costHuge
	default:
		return errFull
	}
	if !r.held.Hold(cost) {
		return ErrNoRoom
	}
	r.resize(size)
	return nil
}

func (r *Reader) resize(size int) {
	var next []byte
	switch size {
	case smallBuf:
		next = smallPool.Get().(*[smallBuf]byte)[:]
	case largeBuf:
		next = largePool.Get().(*[largeBuf]byte)[:]
	default:
		next = make([]byte, size)
	}
	n := copy(next, r.buf[r.r:r.w])
	r.recycle()
	r.buf, r.r, r.w = next, 0, n
}

func (r *Reader) recycle() {
	switch len(r.buf) {
	case smallBuf:
		smallPool.Put((*[smallBuf]byte)(r.buf))
	case largeBuf:
		largePool.Put((*[largeBuf]byte)(r.buf))
	}
}

// Narrow gives a large buffer back between messages, when what is buffered fits
// a small one.
func (r *Reader) Narrow() {
	if r.busy = false; len(r.buf) > smallBuf && r.w-r.r <= smallBuf {
		r.resize(smallBuf)
		r.held.Release()
	}
}

// Release gives the buffer back; what is buffered is dropped. The reader can be
// used again.
func (r *Reader) Release() {
	r.recycle()
	r.held.Release()
	r.buf, r.r, r.w, r.busy = nil, 0, 0, false
	r.restartScan()
}

func (r *Reader) restartScan() { r.scanned, r.line, r.ends, r.lined = 0, 0, r.ends[:0], false }

// scan looks for the empty line that ends a block of CRLF-terminated lines and
// goes on where it left off last time. maxFirst bounds the first line, max the
// block, maxLines the lines before the empty one.
func (r *Reader) scan(maxFirst, max, maxLines int) (done bool, err error) {
	b := r.Buffered()
	for {
		i := bytes.IndexByte(b[r.scanned:], '\n')
		if i < 0 {
			r.scanned = len(b)
			return false, r.tooLong(len(b), maxFirst, max)
		}
		end := r.scanned + i - 1
		if r.scanned += i + 1; end < r.line || b[end] != '\r' {
			return false, malformed("a line ends in a bare LF")
		}
		if err := r.tooLong(end, maxFirst, max); err != nil {
			return false, err
		}
		if end == r.line {
			return true, nil
		}
		if len(r.ends) == maxLines {
			return false, malformed(fmt.Sprintf("there are more than %d header fields", min(maxLines, MaxFields)))
		}
		r.ends = append(r.ends, int32(end))
		r.line = r.scanned
	}
}

func (r *Reader) tooLong(n, maxFirst, max int) error {
	if len(r.ends) == 0 && n > maxFirst {
		return malformed(fmt.Sprintf("the first line is longer than %d KiB", maxFirst>>10))
	}
	if n > max {
		return malformed(fmt.Sprintf("the header block is longer than %d KiB", max>>10))
	}
	return nil
}

// lines calls f for each scanned line from the first on, then consumes the block.
func (r *Reader) lines(first int, f func(line []byte) error) error {
	b, start := r.Buffered(), 0
	for i, end := range r.ends {
		if i >= first {
			if err := f(b[start:end]); err != nil {
				return err
			}
		}
		start = int(end) + 2
	}
	r.Discard(r.scanned)
	return nil
}
