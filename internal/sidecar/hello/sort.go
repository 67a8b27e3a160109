package hello

// Sort is what the first bytes of a stream are to TLS servers.
type Sort uint8

// The sorts. Nearly is what no client sends and some servers take for the beginning
// of TLS all the same: a first record whose version TLS never had or an alert before
// the hello (Go's crypto/tls), a hello in SSL 2's format (OpenSSL). It is never let
// through as something else.
const (
	Unclear Sort = iota // more bytes are needed
	Foreign             // TLS to nobody
	TLS                 // a handshake record
	Nearly
)

const (
	typeAlert = 21
	// maxVersion is the greatest major version of a first record that a server takes.
	maxVersion = 0x0f
)

// SortOf judges what b begins with. It needs at most six bytes.
func SortOf(b []byte) Sort {
	if len(b) == 0 {
		return Unclear
	}
	switch first := b[0]; {
	case first == typeHandshake && len(b) > 1 && b[1] == 3:
		return TLS
	case first == typeHandshake:
		return nearly(b, span{0, maxVersion}, whatever, whatever, whatever, just(typeClientHello))
	case first == typeAlert: // a record of its level, 1 or 2, and its description
		return nearly(b, span{0, maxVersion}, whatever, just(0), just(2), span{1, 2})
	case first == 0x80 || first == 0x81: // the length, up to 511 bytes; the version is 3.x
		return nearly(b, whatever, just(typeClientHello), just(3))
	}
	return Foreign
}

// span is what one byte may be.
type span struct{ from, to byte }

var whatever = span{0, 0xff}

func just(c byte) span { return span{c, c} }

// nearly compares the bytes behind the first one with what they must be.
func nearly(b []byte, follow ...span) Sort {
	for i, s := range follow {
		if i+1 >= len(b) {
			return Unclear
		}
		if c := b[i+1]; c < s.from || c > s.to {
			return Foreign
		}
	}
	return Nearly
}
