package http1

import "bytes"

const (
	tokenChar uint8 = 1 << iota // tchar of RFC 9110, section 5.6.2
	valueChar                   // field-vchar, SP and HTAB
)

var chars = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[i] |= valueChar
		}
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0 {
			t[i] |= tokenChar
		}
	}
	return t
}()

func all(b []byte, class uint8) bool {
	for _, c := range b {
		if chars[c]&class == 0 {
			return false
		}
	}
	return true
}

// TokenByte reports what a method consists of.
func TokenByte(c byte) bool { return chars[c]&tokenChar != 0 }

func isToken(b []byte) bool { return len(b) > 0 && all(b, tokenChar) }

// EqualFold compares in ASCII, ignoring case; lower is lower case.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c != lower[i] && ('A' > c || c > 'Z' || c|0x20 != lower[i]) {
			return false
		}
	}
	return true
}

// HasPrefixFold reports whether b starts with lower, ignoring case.
func HasPrefixFold(b []byte, lower string) bool {
	return len(b) >= len(lower) && EqualFold(b[:len(lower)], lower)
}

func trimOWS(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseField reads "name: value". A line that starts with whitespace (obs-fold)
// and whitespace before the colon fail the token check.
func parseField(line []byte) (Field, error) {
	i := 0
	for i < len(line) && chars[line[i]]&tokenChar != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return Field{}, malformed("a header field has no valid name")
	}
	value := trimOWS(line[i+1:])
	if !all(value, valueChar) {
		return Field{}, malformed("a header value contains a control character")
	}
	return Field{line[:i], value}, nil
}

// parseLength reads a Content-Length: digits, nothing else.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 { // below 2^63 whatever the digits
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
