package hello

import "encoding/binary"

const (
	typeServerHello = 2
	firstType       = 20 // of the records that TLS has
	lastType        = 26

	alertWarning = 1
	closeNotify  = 0
)

// retryRandom is the random of a ServerHello that is a HelloRetryRequest: the
// SHA-256 of that word (RFC 8446, section 4.1.3).
var retryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// Retries reports whether a server that begins with b asks for a second ClientHello.
// With more, b is too short to tell; a few hundred bytes never are. Records that no
// server writes count as asking: who has to show another hello can hide nothing.
func Retries(b []byte) (again, more bool) {
	var msg [4 + 2 + len(retryRandom)]byte // header, version and random
	got := 0
	for records := 1; ; records++ {
		alert := len(b) > 0 && b[0] == typeAlert
		if len(b) > 0 && !alert && b[0] != typeHandshake {
			return got > 0, false
		}
		if len(b) > 1 && b[1] != 3 { // before they know it, some clients take any version
			return true, false
		}
		if len(b) < recordHeader {
			return false, true
		}
		n := int(binary.BigEndian.Uint16(b[3:]))
		if n == 0 || n > maxRecord || records > maxRecords || alert && (n != 2 || got > 0) {
			return true, false
		}
		b = b[recordHeader:]
		have := b[:min(len(b), n)]
		if !alert {
			got += copy(msg[got:], have)
		}
		switch {
		case alert && len(have) == n && (have[0] != alertWarning || have[1] == closeNotify):
			return false, false // it ends here
		case got > 0 && msg[0] != typeServerHello:
			return false, false
		case got == len(msg):
			return [32]byte(msg[6:]) == retryRandom, false
		}
		if len(have) < n {
			return false, true
		}
		b = b[n:]
	}
}

// Passing returns the size of the record that b begins with, its header included, if
// a client may send such a one before its second ClientHello: all but those of a
// handshake. 0: it is another one, or none. With more, b is too short to tell.
func Passing(b []byte) (size int, more bool) {
	if len(b) > 0 && (b[0] < firstType || b[0] > lastType || b[0] == typeHandshake) || len(b) > 1 && b[1] != 3 {
		return 0, false
	}
	if len(b) < recordHeader {
		return 0, true
	}
	return recordHeader + int(binary.BigEndian.Uint16(b[3:])), false
}
