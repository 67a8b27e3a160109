// Package socks reads the client's side of SOCKS5 (RFC 1928) from bytes that may
// lie: the greeting and the request. Whatever is not plainly one of them is
// refused.
package socks

import (
	"encoding/binary"
	"net/netip"
)

// The versions by which a client can be told from one that speaks HTTP.
const (
	Version4 = 4
	Version5 = 5
)

// Reply codes (RFC 1928, section 6).
const (
	Succeeded            = 0
	GeneralFailure       = 1
	NotAllowed           = 2
	HostUnreachable      = 4
	CommandNotSupported  = 7
	AddrTypeNotSupported = 8
)

// Error says why bytes are refused, and with which reply. Why quotes nothing of
// them. Code 0 means that there is nothing to reply to.
type Error struct {
	Code byte
	Why  string
}

func (e *Error) Error() string { return "malformed SOCKS request: " + e.Why }

// Request is a CONNECT request.
type Request struct {
	Host string // as it was sent: letters, digits and the like only
	Addr netip.Addr
	Port uint16
}

// The replies to a greeting.
var (
	noAuth       = [...]byte{Version5, authNone}
	noAcceptable = [...]byte{Version5, 0xff}
)

const authNone = 0 // the method of no authentication

// NoAuth is the answer to a greeting that offers to go without authentication.
func NoAuth() []byte { return noAuth[:] }

// NoAcceptable is the answer to one that does not.
func NoAcceptable() []byte { return noAcceptable[:] }

// Greeting reads the greeting that b begins with; n is its length, 0 when more
// bytes are needed. ok reports whether it offers to go without authentication.
func Greeting(b []byte) (n int, ok bool, err error) {
	switch {
	case len(b) > 0 && b[0] != Version5:
		return 0, false, &Error{0, "the version is not 5"}
	case len(b) < 2:
		return 0, false, nil
	case b[1] == 0:
		return 0, false, &Error{0, "the greeting offers no method"}
	case len(b) < 2+int(b[1]):
		return 0, false, nil
	}
	n = 2 + int(b[1])
	for _, m := range b[2:n] {
		ok = ok || m == authNone
	}
	return n, ok, nil
}

const (
	cmdConnect = 1
	atypIPv4   = 1
	atypName   = 3
	atypIPv6   = 4
)

// ReadRequest reads the request that b begins with; n is its length, 0 when more
// bytes are needed.
func ReadRequest(b []byte) (r Request, n int, err error) {
	switch { // what is wrong shows as early as it is there
	case len(b) > 0 && b[0] != Version5:
		return r, 0, &Error{GeneralFailure, "the version is not 5"}
	case len(b) > 1 && b[1] != cmdConnect:
		return r, 0, &Error{CommandNotSupported, "only CONNECT is served, not BIND and not UDP ASSOCIATE"}
	case len(b) > 2 && b[2] != 0:
		return r, 0, &Error{GeneralFailure, "the reserved byte is not 0"}
	case len(b) < 5: // with the first byte of every address
		if len(b) == 4 && b[3] != atypIPv4 && b[3] != atypName && b[3] != atypIPv6 {
			return r, 0, unknownAddress()
		}
		return r, 0, nil
	}
	start, size := 4, 0
	switch b[3] {
	case atypIPv4:
		size = 4
	case atypIPv6:
		size = 16
	case atypName:
		start, size = 5, int(b[4])
	default:
		return r, 0, unknownAddress()
	}
	if size == 0 {
		return r, 0, &Error{GeneralFailure, "the name is empty"}
	}
	if n = start + size + 2; len(b) < n {
		return r, 0, nil
	}
	address := b[start : start+size]
	if b[3] == atypName {
		if !isName(address) {
			return r, 0, &Error{GeneralFailure, "the name has a byte that names do not have"}
		}
		r.Host = string(address)
	} else {
		r.Addr, _ = netip.AddrFromSlice(address)
	}
	if r.Port = binary.BigEndian.Uint16(b[n-2:]); r.Port == 0 {
		return r, 0, &Error{GeneralFailure, "the port is 0"}
	}
	return r, n, nil
}

func unknownAddress() error {
	return &Error{AddrTypeNotSupported, "the type of the address is unknown"}
}

// isName refuses what is in no host name, NUL above all: whoever reads the name
// as a C string would read another one. Colons and brackets would make a host and
// a port of it.
func isName(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// Reply is the answer to a request. The bound address is not told.
func Reply(code byte) []byte { return []byte{Version5, code, 0, atypIPv4, 0, 0, 0, 0, 0, 0} }
