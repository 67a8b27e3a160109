// Package hello reads what a TLS client says about where it wants to go: the
// facts of a ClientHello (RFC 8446, section 4.1.2), from bytes that are looked at
// and not consumed. What two readers could understand differently is refused: a
// hello that is passed on must name to the server what it named here.
package hello

import "encoding/binary"

const (
	// MaxSize bounds a ClientHello with its record headers, in bytes.
	MaxSize = 64 << 10
	// maxRecords bounds the records that one is spread over. Clients use one.
	maxRecords = 16

	recordHeader    = 5
	maxRecord       = 16 << 10
	typeHandshake   = 22
	typeClientHello = 1
)

// Hello is what a ClientHello shows.
type Hello struct {
	ServerName string   // as it was sent; "" without one
	Protocols  []string // offered by ALPN, in the client's order
	ECH        bool     // it carries an encrypted ClientHello, or pretends to
	Size       int      // in bytes, with the headers of its records
}

// Names reports whether the server name is host, which is lower-case ASCII. Case
// is ignored in ASCII only, and nothing else is: no trailing dot, no Unicode.
func (h *Hello) Names(host string) bool {
	if len(h.ServerName) != len(host) {
		return false
	}
	for i := 0; i < len(host); i++ {
		c := h.ServerName[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != host[i] {
			return false
		}
	}
	return true
}

// Offers reports whether proto is among the protocols.
func (h *Hello) Offers(proto string) bool {
	for _, p := range h.Protocols {
		if p == proto {
			return true
		}
	}
	return false
}

// Error says why bytes are no ClientHello; it quotes nothing of them.
type Error struct{ Why string }

func (e *Error) Error() string { return "malformed ClientHello: " + e.Why }

func malformed(why string) error { return &Error{why} }

// Begins reports whether b, which is not empty, begins as TLS does. No text
// protocol does.
func Begins(b []byte) bool { return recordError(b) == nil }

// Read returns the facts of the ClientHello that b begins with. With more, b is
// only the beginning of one. An error is an *Error.
func Read(b []byte) (h Hello, more bool, err error) {
	msg, size, more, err := message(b)
	if err != nil || more {
		return Hello{}, more, err
	}
	h, err = parse(msg)
	h.Size = size
	return h, false, err
}

// message returns the body of the handshake message that b begins with, joined out
// of its records, and how many bytes of b they take. It must end where a record
// ends: what follows a ClientHello in its record is for nobody. Nothing is copied
// until all of it is there, since b may come byte by byte.
func message(b []byte) (msg []byte, taken int, more bool, err error) {
	var head [4]byte // type and length
	got := 0         // bytes of the message so far
	rest := b
	for records := 1; ; records++ {
		if err := recordError(rest); err != nil {
			return nil, 0, false, err
		}
		if len(rest) < recordHeader {
			return nil, 0, true, nil
		}
		n := int(binary.BigEndian.Uint16(rest[3:]))
		switch {
		case n == 0 || n > maxRecord:
			return nil, 0, false, malformed("a record has no or too much content")
		case records > maxRecords:
			return nil, 0, false, malformed("it is spread over too many records")
		}
		rest = rest[recordHeader:]
		have := rest[:min(len(rest), n)]
		if got < len(head) {
			copy(head[got:], have)
		}
		if got+len(have) > 0 && head[0] != typeClientHello {
			return nil, 0, false, malformed("the first message is another")
		}
		if got+len(have) >= len(head) {
			switch size := len(head) + int(head[1])<<16 + int(head[2])<<8 + int(head[3]); {
			case size > MaxSize:
				return nil, 0, false, malformed("it is too long")
			case got+n > size:
				return nil, 0, false, malformed("its last record holds more than it")
			case got+len(have) == size:
				return join(b, records)[len(head):], len(b) - len(rest) + n, false, nil
			}
		}
		if len(have) < n {
			return nil, 0, true, nil
		}
		got += n
		rest = rest[n:]
	}
}

// join returns the content of the first records of b, which are complete.
func join(b []byte, records int) (msg []byte) {
	for ; records > 0; records-- {
		n := recordHeader + int(binary.BigEndian.Uint16(b[3:]))
		if msg == nil && records == 1 {
			return b[recordHeader:n]
		}
		msg = append(msg, b[recordHeader:n]...)
		b = b[n:]
	}
	return msg
}

// recordError judges the beginning of a record header.
func recordError(b []byte) error {
	if len(b) > 0 && b[0] != typeHandshake || len(b) > 1 && b[1] != 3 {
		return malformed("the bytes are no TLS handshake record")
	}
	return nil
}

// cursor takes fields off the front of a message.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if len(c.b) < n {
		c.bad, c.b = true, nil
		return nil
	}
	p := c.b[:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) uint16() int {
	if p := c.take(2); p != nil {
		return int(binary.BigEndian.Uint16(p))
	}
	return 0
}

// vector takes a vector whose length is in one or two bytes.
func (c *cursor) vector(lengthBytes int) []byte {
	n := 0
	for _, b := range c.take(lengthBytes) {
		n = n<<8 | int(b)
	}
	return c.take(n)
}

func parse(msg []byte) (h Hello, err error) {
	c := cursor{b: msg}
	c.take(2 + 32)
	session := c.vector(1)
	ciphers := c.vector(2)
	compression := c.vector(1)
	if c.bad || len(session) > 32 || len(ciphers) == 0 || len(ciphers)%2 != 0 || len(compression) == 0 {
		return Hello{}, malformed("its fixed part is wrong")
	}
	if len(c.b) == 0 {
		return h, nil // before extensions
	}
	ext := cursor{b: c.vector(2)}
	if c.bad || len(c.b) > 0 {
		return Hello{}, malformed("its extensions do not end with it")
	}
	var seen set
	for len(ext.b) > 0 {
		kind := ext.uint16()
		data := ext.vector(2)
		if ext.bad {
			return Hello{}, malformed("an extension is cut off")
		}
		if !seen.add(kind) {
			return Hello{}, malformed("an extension is there twice")
		}
		if err := h.extension(kind, data); err != nil {
			return Hello{}, err
		}
	}
	return h, nil
}

// set is of extension types; there are few.
type set struct {
	first [64]int
	n     int
}

// add reports whether kind is new, and that there are not too many.
func (s *set) add(kind int) bool {
	for _, k := range s.first[:s.n] {
		if k == kind {
			return false
		}
	}
	if s.n == len(s.first) {
		return false
	}
	s.first[s.n] = kind
	s.n++
	return true
}

// The extensions that matter here.
const (
	extServerName = 0
	extALPN       = 16
	extECH        = 0xfe0d
	extOldESNI    = 0xffce // what ECH was called before it was one
)

func (h *Hello) extension(kind int, data []byte) error {
	switch {
	case kind == extServerName:
		return h.serverName(data)
	case kind == extALPN:
		return h.alpn(data)
	case kind == extECH || kind == extOldESNI || 0xfe08 <= kind && kind <= 0xfe0c: // drafts
		h.ECH = true
	}
	return nil
}

// serverName reads RFC 6066, section 3: a list of one host_name. Other types of
// name were never defined.
func (h *Hello) serverName(data []byte) error {
	c := cursor{b: data}
	list := cursor{b: c.vector(2)}
	kind := list.take(1)
	name := list.vector(2)
	if c.bad || list.bad || len(c.b) > 0 || len(list.b) > 0 || kind[0] != 0 || len(name) == 0 {
		return malformed("its server name is not one host name")
	}
	h.ServerName = string(name)
	return nil
}

func (h *Hello) alpn(data []byte) error {
	c := cursor{b: data}
	list := cursor{b: c.vector(2)}
	if c.bad || len(c.b) > 0 || len(list.b) == 0 {
		return malformed("its protocol list is wrong")
	}
	for len(list.b) > 0 {
		p := list.vector(1)
		if list.bad || len(p) == 0 {
			return malformed("its protocol list is wrong")
		}
		h.Protocols = append(h.Protocols, string(p))
	}
	return nil
}
