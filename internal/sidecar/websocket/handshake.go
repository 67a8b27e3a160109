package websocket

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// NewKey returns a value for Sec-WebSocket-Key.
func NewKey() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// Accept returns the Sec-WebSocket-Accept that answers key.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// isKey reports whether s is what a client must send: 16 bytes in base64.
func isKey(s string) bool {
	var b [18]byte
	if len(s) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(b[:], []byte(s))
	return err == nil && n == 16
}

// Request is what the answer to a client's opening handshake is measured by
// (RFC 6455, section 4.1). The zero value has no fields.
type Request struct {
	keys, versions once
	offers         []string
}

// once is a field that must come exactly once.
type once struct {
	value string
	n     int
}

func (o *once) set(value string) { o.value, o.n = value, o.n+1 }

// The fields of the handshake, in lower case.
const (
	keyField        = "sec-websocket-key"
	versionField    = "sec-websocket-version"
	acceptField     = "sec-websocket-accept"
	extensionsField = "sec-websocket-extensions"
)

// ExtensionsField reports whether a field, in any case, says what extensions are
// offered or used.
func ExtensionsField(name string) bool { return strings.EqualFold(name, extensionsField) }

// Field takes a header field of the request, its name in any case.
func (r *Request) Field(name, value string) {
	switch {
	case strings.EqualFold(name, keyField):
		r.keys.set(value)
	case strings.EqualFold(name, versionField):
		r.versions.set(value)
	case ExtensionsField(name):
		r.offers = append(r.offers, value)
	}
}

// Keyed reports whether there is one key: what has none, or two, asks for nothing.
func (r *Request) Keyed() bool { return r.keys.n == 1 && r.keys.value != "" }

// Offers returns those of the client's offers that may be passed on, as one value,
// "" if none may: frames of an extension that is not known here could not be told
// from garbage, and an offer that RFC 7692 has servers decline is declined here.
func (r *Request) Offers() string {
	var known []string
	for _, v := range r.offers {
		for _, e := range split(v, ',') {
			if _, ok := parseOffer(e); ok {
				known = append(known, e)
			}
		}
	}
	return strings.Join(known, ", ")
}

// Response is a server's answer to an opening handshake: a 101 by which it becomes
// a WebSocket. The zero value has no fields.
type Response struct {
	accepts    once
	extensions []string
}

// Field takes a header field of the answer, its name in any case.
func (p *Response) Field(name, value string) {
	switch {
	case strings.EqualFold(name, acceptField):
		p.accepts.set(value)
	case ExtensionsField(name):
		p.extensions = append(p.extensions, value)
	}
}

// Agrees reports what of p is no answer to r, "" if it is one, and whether the
// messages may be compressed. A client would have to fail the connection for the
// same reasons. Which subprotocol was chosen is the endpoints' business.
func (r *Request) Agrees(p *Response) (deflate bool, why string) {
	switch {
	case r.versions.n != 1 || r.versions.value != "13":
		return false, "it agreed to a WebSocket version that is not 13"
	case r.keys.n != 1 || !isKey(r.keys.value):
		return false, "it agreed to a WebSocket without a proper key"
	case p.accepts.n != 1 || p.accepts.value != Accept(r.keys.value):
		return false, "its Sec-WebSocket-Accept does not answer the key"
	}
	for _, v := range p.extensions {
		for _, e := range split(v, ',') {
			if e == "" {
				continue
			}
			if deflate || !r.offered(e) {
				return false, "it uses a WebSocket extension that was not offered so"
			}
			deflate = true
		}
	}
	return deflate, ""
}

// offered reports whether e, of an answer, accepts one of the offers.
func (r *Request) offered(e string) bool {
	agreed, ok := parseAgreed(e)
	if !ok {
		return false
	}
	for _, v := range r.offers {
		for _, e := range split(v, ',') {
			if offer, ok := parseOffer(e); ok && agreed.accepts(offer) {
				return true
			}
		}
	}
	return false
}
