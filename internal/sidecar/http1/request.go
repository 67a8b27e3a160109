package http1

import "bytes"

// Request is the head of a request. It can be used again for the next one.
type Request struct {
	Head
	Method, Target []byte
	Host           []byte // value of the Host field; nil without one
	// Continue reports whether the client waits for a 100 before it sends the
	// body.
	Continue bool

	expects bool
}

// Request parses the request head that is buffered; false means that more must
// be read with Fill first. The head is consumed when it is complete. An error is
// an *Error: the connection is of no further use, except to answer on it.
func (r *Reader) Request(q *Request) (bool, error) {
	if b := r.Buffered(); len(b) == 0 {
		return false, nil
	} else if chars[b[0]]&tokenChar == 0 {
		return false, malformed("the bytes are no HTTP/1 request")
	}
	if done, err := r.scan(MaxLine, MaxHead, MaxFields+1); err != nil {
		return false, err
	} else if !done {
		return false, r.first(q)
	}
	q.reset()
	if err := q.requestLine(r.Buffered()[:r.ends[0]]); err != nil {
		return false, err
	}
	if err := r.lines(1, q.field); err != nil {
		return false, err
	}
	return true, q.check()
}

// first looks at the request line as soon as it is there, once: what is no request
// need not be waited for.
func (r *Reader) first(q *Request) error {
	if r.lined || len(r.ends) == 0 {
		return nil
	}
	r.lined = true
	defer q.reset() // what is buffered may move
	return q.requestLine(r.Buffered()[:r.ends[0]])
}

func (q *Request) reset() {
	q.Head.reset()
	*q = Request{Head: q.Head}
}

// requestLine reads method SP target SP version with exactly one SP each.
func (q *Request) requestLine(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	i := bytes.LastIndexByte(rest, ' ')
	if !isToken(method) || i < 1 {
		return malformed("the request line is not method, target and version")
	}
	q.Method, q.Target = method, rest[:i]
	for _, c := range q.Target {
		if c <= ' ' || c == 0x7f {
			return malformed("the request target contains whitespace or a control character")
		}
	}
	return q.setVersion(rest[i+1:])
}

func (q *Request) field(line []byte) error {
	if err := q.Head.field(line); err != nil {
		return err
	}
	f := q.Fields[len(q.Fields)-1]
	switch {
	case EqualFold(f.Name, "host"):
		if q.Host != nil {
			return malformed("more than one Host field")
		}
		q.Host = f.Value
	case EqualFold(f.Name, "expect"):
		if q.expects || !EqualFold(f.Value, "100-continue") {
			return malformed("Expect is not exactly \"100-continue\"")
		}
		q.expects = true
	}
	return nil
}

func (q *Request) check() error {
	if q.Host == nil && q.Minor == 1 {
		return malformed("no Host field")
	}
	q.Continue = q.expects && q.Minor == 1
	return q.frame(NoBody)
}
