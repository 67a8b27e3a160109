package http1

// Response is the head of a response. It can be used again for the next one.
type Response struct {
	Head
	Status int // 100 to 999
	Reason []byte
}

// Response parses the response head that is buffered, of a response to a request
// with the given method; false means that more must be read with Fill first. The
// head is consumed when it is complete.
func (r *Reader) Response(p *Response, method string) (bool, error) {
	if b := r.Buffered(); len(b) == 0 {
		return false, nil
	} else if b[0] != 'H' {
		return false, malformed("the bytes are no HTTP/1 response")
	}
	if done, err := r.scan(MaxLine, MaxHead, MaxFields+1); !done || err != nil {
		return false, err
	}
	p.reset()
	if err := p.statusLine(r.Buffered()[:r.ends[0]]); err != nil {
		return false, err
	}
	if err := r.lines(1, p.field); err != nil {
		return false, err
	}
	return true, p.check(method)
}

// Withheld reports whether the head announces a body that does not follow it, since
// none may (HEAD, 204, 304). A server that sends it all the same may do so late.
func (p *Response) Withheld() bool {
	return p.Framing == NoBody && p.Status >= 200 && (p.codings > 0 || p.HasLength && p.Length > 0)
}

func (p *Response) reset() {
	p.Head.reset()
	*p = Response{Head: p.Head}
}

// statusLine reads version SP status [SP reason]; real servers leave out the
// second SP when they have no reason.
func (p *Response) statusLine(b []byte) error {
	const version = len("HTTP/1.1")
	if len(b) < version+4 || b[version] != ' ' {
		return malformed("the status line is not version and status")
	}
	if err := p.setVersion(b[:version]); err != nil {
		return err
	}
	for _, c := range b[version+1 : version+4] {
		if c < '0' || c > '9' {
			return malformed("the status is not a number")
		}
		p.Status = p.Status*10 + int(c-'0')
	}
	if b = b[version+4:]; len(b) > 0 {
		if b[0] != ' ' || !all(b, valueChar) {
			return malformed("the status line has an invalid reason")
		}
		p.Reason = b[1:]
	}
	if p.Status < 100 {
		return malformed("the status is below 100")
	}
	return nil
}

func (p *Response) check(method string) error {
	if err := p.frame(UntilClose); err != nil {
		return err
	}
	if p.Minor == 0 {
		p.KeepAlive = false
	}
	if method == "HEAD" || p.Status < 200 || p.Status == 204 || p.Status == 304 {
		p.Framing = NoBody
	}
	return nil
}
