package proxy

import (
	"net"
	"sync"

	"firma/internal/sidecar/http1"
)

const sinkSize = 4 << 10

var sinkPool = sync.Pool{New: func() any { return new([sinkSize]byte) }}

var crlf = []byte("\r\n")

// sink collects output for one connection, so that a head and a small body leave
// in one write. Content too large for its buffer is written from where it lies.
type sink struct {
	to   net.Conn
	join bool // one write is better than three: it costs TLS a record each
	buf  []byte
	vec  [3][]byte
	out  net.Buffers
}

// bytes returns the buffer to append to; set it with put.
func (s *sink) bytes() []byte {
	if s.buf == nil {
		s.buf = sinkPool.Get().(*[sinkSize]byte)[:0]
	}
	return s.buf
}

func (s *sink) put(b []byte) { s.buf = b }

// flush writes what is collected.
func (s *sink) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.to.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// content takes a piece of a body; p is not kept.
func (s *sink) content(p []byte, chunked bool) error {
	b := s.bytes()
	if chunked {
		b = http1.AppendChunkSize(b, len(p))
	}
	if len(b)+len(p)+len(crlf) <= cap(b) {
		b = append(b, p...)
		if chunked {
			b = append(b, crlf...)
		}
		s.buf = b
		return nil
	}
	if s.join {
		return s.joined(b, p, chunked)
	}
	s.vec = [3][]byte{b, p}
	pieces := s.vec[:2]
	if chunked {
		s.vec[2] = crlf
		pieces = s.vec[:3]
	}
	err := s.writeAll(pieces)
	s.buf, s.vec = b[:0], [3][]byte{}
	return err
}

func (s *sink) writeAll(pieces [][]byte) error {
	if v, ok := s.to.(interface {
		WriteBuffers(...[]byte) (int, error)
	}); ok {
		_, err := v.WriteBuffers(pieces...)
		return err
	}
	s.out = pieces
	_, err := s.out.WriteTo(s.to)
	return err
}

// joinSmall holds what a small buffer gives, with a head before it.
const joinSmall = 2*sinkSize + 64

var smallPool = sync.Pool{New: func() any { return new([joinSmall]byte) }}

// joinSize holds what one read of a body gives, with a head before it.
const joinSize = 48 << 10

var joinPool = sync.Pool{New: func() any { return new([joinSize]byte) }}

func (s *sink) joined(b, p []byte, chunked bool) error {
	s.buf = b[:0]
	var all []byte
	if len(b)+len(p)+len(crlf) <= joinSmall {
		buf := smallPool.Get().(*[joinSmall]byte)
		defer smallPool.Put(buf)
		all = buf[:0]
	} else {
		buf := joinPool.Get().(*[joinSize]byte)
		defer joinPool.Put(buf)
		all = buf[:0]
	}
	all = append(append(all, b...), p...)
	if chunked {
		all = append(all, crlf...)
	}
	_, err := s.to.Write(all)
	return err
}

// release gives the buffer back, with what it holds.
func (s *sink) release() {
	if cap(s.buf) == sinkSize {
		sinkPool.Put((*[sinkSize]byte)(s.buf[:sinkSize]))
	}
	s.buf = nil
}
