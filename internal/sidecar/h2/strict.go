package h2

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"

	"firma/internal/sidecar/http1"
)

// strict is a connection to an HTTP/1.1 upstream whose responses are read as
// strictly as those of HTTP/1.1 agents are: net/http reads what package http1 made
// of them, and so can't read anything else in them.
type strict struct {
	net.Conn
	in       *http1.Reader
	resp     http1.Response
	body     http1.Body
	out      []byte // for net/http, from at on
	at       int
	state    reading
	interims int
	failed   error

	told bool // to send the body it was announced

	mu    sync.Mutex
	asked asked // and not answered yet
}

// asked is what matters of a request for its response; without a method there is
// none.
type asked struct {
	method   string
	doubtful func(told bool) bool // whether more than one response may come; nil: it is not
	bad      func(*http1.Error)   // is told what is wrong with the response; may be nil
}

// reading is what comes next on a strict connection.
type reading uint8

const (
	inHead reading = iota
	inBody
	inTunnel // after a 101
)

func newStrict(nc net.Conn) *strict { return &strict{Conn: nc, in: http1.NewReader(nc)} }

// strictly returns what net/http is to read from.
func strictly(c *tls.Conn) net.Conn {
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return c
	}
	return newStrict(c)
}

// expect makes the next response the answer to a.
func expect(t *httptrace.ClientTrace, a asked) *httptrace.ClientTrace {
	t.GotConn = func(info httptrace.GotConnInfo) {
		if s, ok := info.Conn.(*strict); ok {
			s.mu.Lock()
			s.asked = a
			s.mu.Unlock()
		}
	}
	return t
}

// Read returns the next of the normalised response. An error comes after at least
// one byte of it: before that, net/http would send the request again.
func (s *strict) Read(p []byte) (int, error) {
	for s.at == len(s.out) {
		if s.failed != nil {
			return 0, s.failed
		}
		s.out, s.at = s.out[:0], 0
		if s.failed = s.next(); s.failed != nil && s.state == inHead && s.failed != io.EOF {
			s.out = append(s.out[:0], 'H')
			s.tell()
		}
	}
	n := copy(p, s.out[s.at:])
	s.at += n
	return n, nil
}

// tell says what is wrong with a head, of which net/http has a single byte to judge by.
func (s *strict) tell() {
	s.mu.Lock()
	bad := s.asked.bad
	s.mu.Unlock()
	var e *http1.Error
	if bad != nil && errors.As(s.failed, &e) {
		bad(e)
	}
}

// next appends to out, or reads more of the connection.
func (s *strict) next() error {
	switch s.state {
	case inHead:
		return s.head()
	case inBody:
		return s.content()
	}
	if b := s.in.Buffered(); len(b) > 0 {
		s.out = append(s.out, b...)
		s.in.Discard(len(b))
		return nil
	}
	return s.in.Fill()
}

func (s *strict) head() error {
	if len(s.in.Buffered()) == 0 {
		s.in.Release()
		if err := s.in.Fill(); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return io.EOF // a kept connection is over in either way: the request may be repeated
		} else if err != nil {
			return err
		}
	}
	s.mu.Lock()
	method := s.asked.method
	s.mu.Unlock()
	if method == "" {
		return errors.New("h2: the upstream sent something unasked")
	}
	done, err := s.in.Response(&s.resp, method)
	if err != nil {
		return err
	}
	if !done {
		err := s.in.Fill()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return s.begin()
}

// begin passes a head on.
func (s *strict) begin() error {
	r := &s.resp
	b := append(s.out, "HTTP/1."...)
	b = append(b, byte('0'+r.Minor), ' ', byte('0'+r.Status/100), byte('0'+r.Status/10%10), byte('0'+r.Status%10), ' ')
	b = append(append(b, r.Reason...), "\r\n"...)
	for _, f := range r.Fields {
		b = http1.AppendField(b, f.Name, f.Value)
	}
	if r.Status >= 200 && r.KeepAlive && s.doubtful() {
		b = http1.AppendField(b, "Connection", "close")
	}
	s.out = append(b, "\r\n"...)
	switch {
	case r.Status == 101:
		s.state = inTunnel
	case r.Status < 200:
		if s.interims++; s.interims > maxInterims {
			return &http1.Error{Why: "too many interim responses"}
		}
		s.told = s.told || r.Status == 100
	default:
		s.body.Reset(s.in, &r.Head)
		s.state, s.interims, s.told = inBody, 0, false
		s.settle()
	}
	return nil
}

// doubtful is proxy's word for a connection that must not be kept; net/http is told
// that the upstream wants to close it.
func (s *strict) doubtful() bool {
	s.mu.Lock()
	a := s.asked
	s.mu.Unlock()
	return s.resp.Withheld() || a.doubtful != nil && a.doubtful(s.told)
}

// settle ends a response that is whole.
func (s *strict) settle() {
	if s.body.Ended() && s.resp.Framing != http1.Chunked && s.resp.Framing != http1.UntilClose {
		s.ended()
	}
}

func (s *strict) ended() {
	s.state = inHead
	s.mu.Lock()
	s.asked = asked{}
	s.mu.Unlock()
}

func (s *strict) content() error {
	chunked := s.resp.Framing == http1.Chunked
	p, err := s.body.Next()
	switch {
	case p != nil && chunked:
		s.out = append(append(http1.AppendChunkSize(s.out, len(p)), p...), "\r\n"...)
	case p != nil:
		s.out = append(s.out, p...)
		s.settle()
	case err == io.EOF && chunked:
		s.out = append(s.out, "0\r\n"...)
		for _, f := range s.body.Trailer {
			s.out = http1.AppendField(s.out, f.Name, f.Value)
		}
		s.out = append(s.out, "\r\n"...)
		s.ended()
	case err != nil:
		return err
	default:
		return s.body.Fill()
	}
	return nil
}
