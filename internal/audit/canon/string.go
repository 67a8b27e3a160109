package canon

import "unicode/utf8"

const hexDigits = "0123456789abcdef"

// AppendString appends s as a canonical JSON string with its quotes. Each byte
// that is not part of valid UTF-8 becomes U+FFFD, as encoding/json does it, so
// equal input gives equal output and the output is always valid JSON.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0 // s[start:i] needs no change
	for i := 0; i < len(s); {
		if plain(s[i]) {
			i++
			continue
		}
		size := 1
		if s[i] >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = appendEscaped(append(dst, s[start:i]...), s[i])
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// plain reports whether RFC 8785 writes the ASCII byte b as itself.
func plain(b byte) bool {
	return b >= 0x20 && b < utf8.RuneSelf && b != '"' && b != '\\'
}

// appendEscaped appends the escape of b: a control character, a quote, a
// backslash, or a byte that is not UTF-8. RFC 8785 section 3.2.2.2.
func appendEscaped(dst []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	if b >= utf8.RuneSelf {
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
}
