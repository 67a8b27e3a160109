package h2

import (
	"strings"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
)

const (
	maxHeaderList = 64 << 10 // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	maxBlock      = 96 << 10 // bytes of a compressed block
	maxFragments  = 128      // frames of a block
)

// head is a decoded header block of the client.
type head struct {
	method, scheme, authority, path, protocol string

	host      string // of the Host field, "" without one
	hosts     int
	length    int64 // of Content-Length; -1 without one
	expects   bool  // 100-continue
	te        bool  // trailers
	bodyless  bool  // END_STREAM
	fields    []hpack.HeaderField
	malformed string // why it is no request, if it isn't
	tooLong   bool
}

// block is a header block on its way.
type block struct {
	head
	id        uint32
	end       bool // END_STREAM
	self      bool // its priority depends on itself
	bytes     []byte
	fragments int

	size    int
	seen    int // pseudo-header fields, one bit each
	regular bool
}

func (b *block) begin(id uint32, end, self bool) {
	*b = block{head: head{length: -1}, id: id, end: end, self: self, bytes: b.bytes[:0]}
}

func (b *block) add(p []byte) error {
	b.bytes = append(b.bytes, p...)
	if b.fragments++; len(b.bytes) > maxBlock || b.fragments > maxFragments {
		return violation(codeCalm, "a header block is too large")
	}
	return nil
}

func (b *block) release() { b.bytes = nil }

// decode runs the whole block through HPACK, whose state must follow even where
// the content is not wanted.
func (c *conn) decode(p []byte) error {
	c.dec.SetEmitEnabled(true)
	if _, err := c.dec.Write(p); err != nil {
		return violation(codeCompression, "a header block can't be decoded")
	}
	if err := c.dec.Close(); err != nil {
		return violation(codeCompression, "a header block is incomplete")
	}
	return nil
}

// emit takes one field of the block.
func (c *conn) emit(f hpack.HeaderField) {
	b := &c.block
	b.size += len(f.Name) + len(f.Value) + 32
	if b.size > maxHeaderList || len(b.fields) >= http1.MaxFields {
		b.tooLong = true
		c.dec.SetEmitEnabled(false)
		return
	}
	if b.malformed != "" {
		return
	}
	if strings.HasPrefix(f.Name, ":") {
		b.malformed = b.pseudo(f)
		return
	}
	b.regular = true
	b.malformed = b.field(f)
}

func (b *block) pseudo(f hpack.HeaderField) string {
	names := [...]string{":method", ":scheme", ":authority", ":path", ":protocol"}
	values := [...]*string{&b.method, &b.scheme, &b.authority, &b.path, &b.protocol}
	for i, name := range names {
		if f.Name != name {
			continue
		}
		if b.regular || b.seen&(1<<i) != 0 {
			return "a pseudo-header field is repeated or follows a field"
		}
		if f.Value == "" || !validValue(f.Value) {
			return "a pseudo-header field has no valid value"
		}
		b.seen |= 1 << i
		*values[i] = f.Value
		return ""
	}
	return "an unknown pseudo-header field"
}

func (b *block) field(f hpack.HeaderField) string {
	if !validName(f.Name) {
		return "a field name is not a lower-case token"
	}
	if !validValue(f.Value) {
		return "a field value has a control character or space around it"
	}
	switch {
	case f.Name == "host":
		b.hosts++
		b.host = f.Value
		if b.hosts > 1 {
			return "more than one Host field"
		}
		return ""
	case field.Same(f.Name, "content-length"):
		return b.setLength(f)
	case field.Same(f.Name, "transfer-encoding"), field.Same(f.Name, "proxy-connection"), field.Same(f.Name, "keep-alive"),
		f.Name == "connection", f.Name == "upgrade":
		return "a field that describes a connection"
	case f.Name == "te":
		if f.Value != "trailers" {
			return "TE is not exactly \"trailers\""
		}
		b.te = true
		return ""
	case f.Name == "expect":
		if b.expects || !strings.EqualFold(f.Value, "100-continue") {
			return "Expect is not exactly \"100-continue\""
		}
		b.expects = true
		return ""
	}
	b.fields = append(b.fields, f)
	return ""
}

func (b *block) setLength(f hpack.HeaderField) string {
	const why = "Content-Length is not one plain number"
	if b.length >= 0 || f.Name != "content-length" || len(f.Value) > 18 {
		return why
	}
	n := int64(0)
	for i := 0; i < len(f.Value); i++ {
		if f.Value[i] < '0' || f.Value[i] > '9' {
			return why
		}
		n = n*10 + int64(f.Value[i]-'0')
	}
	if f.Value == "" {
		return why
	}
	b.length = n
	return ""
}

// complete says what is missing from a request, or too much.
func (b *block) complete() string {
	const method, scheme, authority, path, protocol = 1, 2, 4, 8, 16
	switch {
	case b.seen&protocol != 0:
		if b.method != "CONNECT" || b.seen&(scheme|path|authority) != scheme|path|authority {
			return "an extended CONNECT lacks a pseudo-header field"
		}
	case b.method == "CONNECT":
		return "CONNECT inside an intercepted connection"
	case b.seen&(method|scheme|path) != method|scheme|path:
		return "a pseudo-header field is missing"
	}
	switch {
	case b.scheme != "https":
		return "the scheme is not https"
	case b.end && b.length > 0:
		return "Content-Length announces a body that does not come"
	}
	return ""
}

// validName accepts tokens in lower case (RFC 9113, section 8.2.1).
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenChars[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokenChars = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

func validValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == "" || !isSpace(s[0]) && !isSpace(s[len(s)-1])
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
