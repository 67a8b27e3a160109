package mapping

import "strings"

// decode resolves the percent-encoding of a canonical string, which has no
// invalid one. It allocates only when there is something to resolve.
func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c, n := decodeByte(s[i:])
		b = append(b, c)
		i += n
	}
	return string(b)
}

func decodeByte(s string) (b byte, n int) {
	if s[0] == '%' && len(s) >= 3 {
		return fromHex(s[1])<<4 | fromHex(s[2]), 3
	}
	return s[0], 1
}

func fromHex(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b&^0x20 - 'A' + 10
}

// equalDecoded reports whether encoded, once resolved, is plain. plus is what a
// "+" stands for.
func equalDecoded(encoded, plain string, plus byte, fold bool) bool {
	j := 0
	for i := 0; i < len(encoded); j++ {
		b, n := decodeByte(encoded[i:])
		if n == 1 && b == '+' {
			b = plus
		}
		if j == len(plain) || b != plain[j] && !(fold && lower(b) == lower(plain[j])) {
			return false
		}
		i += n
	}
	return j == len(plain)
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}
