package http1

// Opening keeps how the content of a request begins. The zero value is that of an
// empty one.
type Opening struct {
	b [64]byte // as long as methods may be
	n int
}

// Add takes the next piece of the content.
func (o *Opening) Add(p []byte) {
	if o.n < len(o.b) {
		o.n += copy(o.b[o.n:], p)
	}
}

// LikeRequest reports whether a server that ignores the framing of a request could
// take its content for another one: it begins with a token and a space, behind white
// space or not. JSON, forms and multipart bodies do not.
func (o *Opening) LikeRequest() bool {
	p := o.b[:o.n]
	for len(p) > 0 && p[0] <= ' ' {
		p = p[1:]
	}
	for i, c := range p {
		if c == ' ' || c == '\t' {
			return i > 0
		}
		if chars[c]&tokenChar == 0 {
			return false
		}
	}
	return false
}
