package http1

import (
	"bytes"
	"errors"
	"io"
)

// Body reads one message body out of a Reader's buffer without copying. Use:
//
//	for {
//		p, err := b.Next()
//		if p != nil  → consume p
//		else if err == nil → b.Fill()
//		else if err == io.EOF → the body ended exactly here
//	}
type Body struct {
	// Trailer holds the trailer fields once Next returned io.EOF.
	Trailer []Field

	r       *Reader
	framing Framing
	state   bodyState
	left    int64 // of the body, or of the current chunk
	excess  int64 // bytes of chunk framing beyond what the data so far needed
	most    int64 // bytes of chunked content that are taken; 0: any number
	total   int64 // of the chunks so far
}

type bodyState uint8

const (
	inData bodyState = iota
	inSize
	inDataEnd
	inTrailer
	ended
)

// Reset makes b the body of the message whose head r just returned.
func (b *Body) Reset(r *Reader, h *Head) {
	*b = Body{r: r, framing: h.Framing, left: h.Length, Trailer: b.Trailer[:0]}
	switch {
	case h.Framing == Chunked:
		b.state = inSize
	case h.Framing == NoBody, h.Framing == Length && h.Length == 0:
		b.state = ended
	}
}

// ErrTooLong is Next's error when a chunked body is longer than Most permits.
var ErrTooLong = errors.New("http1: the body is longer than permitted")

// Most bounds a chunked body to n bytes; 0 does not. It is to be called after Reset.
func (b *Body) Most(n int64) { b.most = n }

// Ended reports whether the whole body was returned by Next.
func (b *Body) Ended() bool { return b.state == ended }

// Left returns how many bytes of a body with framing Length are to come, and -1
// for the other framings before their end.
func (b *Body) Left() int64 {
	switch {
	case b.state == ended:
		return 0
	case b.framing == Length:
		return b.left
	}
	return -1
}

// Next returns the next piece of content that is buffered. nil and no error
// means that Fill must be called first, io.EOF that the body is complete; any
// other error is an *Error.
func (b *Body) Next() ([]byte, error) {
	switch b.framing {
	case Length:
		return b.take()
	case UntilClose:
		if b.state != ended {
			b.left = int64(len(b.r.Buffered()))
		}
		return b.take()
	}
	for {
		p, wait, err := b.step()
		if p != nil || wait || err != nil {
			return p, err
		}
	}
}

// Fill reads more from the source, as Reader.Fill does.
func (b *Body) Fill() error {
	if err := b.r.Fill(); err != io.EOF {
		return err
	}
	return b.SourceEnded()
}

// SourceEnded tells b that the source ended. That is the end of a body with
// framing UntilClose and io.ErrUnexpectedEOF of every other.
func (b *Body) SourceEnded() error {
	if b.framing != UntilClose {
		return io.ErrUnexpectedEOF
	}
	b.state = ended
	return nil
}

// take returns up to left buffered bytes.
func (b *Body) take() ([]byte, error) {
	if b.state == ended {
		return nil, io.EOF
	}
	p := b.r.Buffered()
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if len(p) == 0 {
		return nil, nil
	}
	b.r.Discard(len(p))
	if b.left -= int64(len(p)); b.left == 0 && b.framing == Length {
		b.state = ended
	}
	return p, nil
}

// step advances the chunked coding by one element.
func (b *Body) step() (p []byte, wait bool, err error) {
	switch b.state {
	case inSize:
		wait, err = b.size()
	case inData:
		p, err = b.take()
		if wait = p == nil; !wait && b.left == 0 {
			b.state = inDataEnd
		}
	case inDataEnd:
		wait, err = b.dataEnd()
	case inTrailer:
		wait, err = b.trailer()
	default:
		err = io.EOF
	}
	return p, wait, err
}

func (b *Body) dataEnd() (wait bool, err error) {
	buf := b.r.Buffered()
	if len(buf) > 0 && buf[0] != '\r' || len(buf) > 1 && buf[1] != '\n' {
		return false, malformed("a chunk is longer than its size")
	}
	if len(buf) < 2 {
		return true, nil
	}
	b.r.Discard(2)
	b.state = inSize
	return false, nil
}

func (b *Body) size() (wait bool, err error) {
	buf := b.r.Buffered()
	i := bytes.IndexByte(buf[:min(len(buf), maxChunkLine)], '\n')
	if i < 0 {
		if len(buf) >= maxChunkLine {
			return false, malformed("a chunk-size line is too long")
		}
		return true, nil
	}
	if i == 0 || buf[i-1] != '\r' {
		return false, malformed("a chunk-size line ends in a bare LF")
	}
	n, err := parseChunkSize(buf[:i-1])
	if err != nil {
		return false, err
	}
	if b.excess = max(0, b.excess+int64(i)+2-16-2*min(n, 1<<32)); b.excess > maxChunkExcess {
		return false, malformed("the chunked coding has too much framing")
	}
	if b.total += min(n, 1<<58); b.most > 0 && b.total > b.most {
		return false, ErrTooLong
	}
	b.r.Discard(i + 1)
	if b.left, b.state = n, inData; n == 0 {
		b.state = inTrailer
	}
	return false, nil
}

// parseChunkSize reads 1*16HEXDIG and drops extensions, which nothing may rely
// on (RFC 9112, section 7.1.1).
func parseChunkSize(line []byte) (n int64, err error) {
	i := 0
	for ; i < len(line); i++ {
		v, ok := hexValue(line[i])
		if !ok {
			break
		}
		if i == 16 || n > 1<<58 {
			return 0, malformed("a chunk size is too large")
		}
		n = n<<4 | v
	}
	if i == 0 || i < len(line) && line[i] != ';' || !all(line[i:], valueChar) {
		return 0, malformed("a chunk size is not a hexadecimal number")
	}
	return n, nil
}

func hexValue(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int64(c|0x20-'a') + 10, true
	}
	return 0, false
}

func (b *Body) trailer() (wait bool, err error) {
	done, err := b.r.scan(MaxTrailer, MaxTrailer, maxTrailerFields)
	if !done || err != nil {
		return !done, err
	}
	b.state = ended
	return false, b.r.lines(0, func(line []byte) error {
		f, err := parseField(line)
		b.Trailer = append(b.Trailer, f)
		return err
	})
}
