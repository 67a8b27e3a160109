package intent

import "strings"

// nextByte reads one byte of s, resolving one percent-encoding. n is the number
// of bytes read: 1, or 3 for an encoded byte.
func nextByte(s string) (b byte, n int, err error) {
	if s[0] != '%' {
		return s[0], 1, nil
	}
	if len(s) >= 3 {
		hi, ok1 := hexValue(s[1])
		lo, ok2 := hexValue(s[2])
		if ok1 && ok2 {
			return hi<<4 | lo, 3, nil
		}
	}
	return 0, 0, refuse("the target has an invalid percent-encoding")
}

func appendEncoded(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// isUnreserved is RFC 3986, section 2.3: encoding these never changes a URL.
func isUnreserved(b byte) bool {
	return isAlnum(b) || b == '-' || b == '.' || b == '_' || b == '~'
}

// meansTheSameEncoded reports the characters that are plain in a canonical path.
// Beyond the unreserved ones these are the delimiters that no server gives a
// meaning to in a path when plain and another when encoded; leaving "%3A" alone
// would let "/x%3Adelete" pass a rule for "/x:delete". The others (";", "=", "&",
// "+") do differ between servers and stay as they were given.
func meansTheSameEncoded(b byte) bool {
	return isUnreserved(b) || strings.IndexByte("!$'()*,:@", b) >= 0
}

// isPathByte reports what may stand plain in a path: pchar of RFC 3986, section
// 3.3, and the slash.
func isPathByte(b byte) bool {
	return meansTheSameEncoded(b) || b == '/' || b == '&' || b == '+' || b == ';' || b == '='
}

func isQueryByte(b byte) bool { return isPathByte(b) || b == '?' }

// canonicalQuery settles the percent-encoding of a query: unreserved characters
// are plain, all others stay as they are, encoded with upper-case digits where
// they were encoded or may not stand plain. Order, empty pairs and "+" are kept.
func canonicalQuery(q string) (string, error) {
	if isPlainQuery(q) {
		return q, nil
	}
	out := make([]byte, 0, len(q)+16)
	for i := 0; i < len(q); {
		b, n, err := nextByte(q[i:])
		if err != nil {
			return "", err
		}
		if err := checkQueryByte(b, n > 1); err != nil {
			return "", err
		}
		if n == 1 && isQueryByte(b) || n > 1 && isUnreserved(b) {
			out = append(out, b)
		} else {
			out = appendEncoded(out, b)
		}
		i += n
	}
	return string(out), nil
}

func isPlainQuery(q string) bool {
	for i := 0; i < len(q); i++ {
		if !isQueryByte(q[i]) {
			return false
		}
	}
	return true
}

// checkQueryByte allows encoded control characters other than NUL: forms carry
// line ends in values.
func checkQueryByte(b byte, encoded bool) error {
	switch {
	case b == 0:
		return refuse("the query has a NUL")
	case encoded:
		return nil
	case b <= ' ' || b == 0x7f:
		return refuse("the query has a space or a control character")
	case b == '\\':
		return refuse("the query has a backslash")
	case b == '#':
		return refuse("the target has a fragment")
	}
	return nil
}
