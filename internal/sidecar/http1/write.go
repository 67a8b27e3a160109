package http1

import "strconv"

// LastChunk ends a chunked body without trailers.
const LastChunk = "0\r\n\r\n"

// AppendField appends "name: value" CRLF.
func AppendField[N, V string | []byte](dst []byte, name N, value V) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}

// AppendLength appends the Content-Length field.
func AppendLength(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, "Content-Length: "...), n, 10), "\r\n"...)
}

// AppendChunkSize appends the line before a chunk of n > 0 bytes; CRLF follows
// the data.
func AppendChunkSize(dst []byte, n int) []byte {
	return append(strconv.AppendInt(dst, int64(n), 16), "\r\n"...)
}

// Managed reports whether a field is the proxy's own business on each hop
// (RFC 9110, section 7.6.1): it frames the message, describes the connection or
// talks to the proxy, and is never copied from one side to the other.
func Managed(name []byte) bool {
	if HasPrefixFold(name, "proxy") && (len(name) == len("proxy") || !isAlnum(name[len("proxy")])) {
		return true // "Proxy" alone is HTTP_PROXY to a CGI program
	}
	switch len(name) {
	case 2:
		return EqualFold(name, "te")
	case 4:
		return EqualFold(name, "host")
	case 6:
		return EqualFold(name, "expect")
	case 7:
		return EqualFold(name, "trailer") || EqualFold(name, "upgrade")
	case 10:
		return EqualFold(name, "connection") || EqualFold(name, "keep-alive")
	case 14:
		return EqualFold(name, "content-length") || EqualFold(name, "http2-settings")
	case 17:
		return EqualFold(name, "transfer-encoding")
	}
	return false
}

// TrailerField reports whether a field that came as a trailer may be passed on
// as one: nothing that frames, routes, authenticates or caches (RFC 9110,
// section 6.5.1).
func TrailerField(name []byte) bool {
	if Managed(name) || endToEnd(name) {
		return false
	}
	for _, s := range []string{"age", "expires", "pragma", "retry-after", "max-forwards", "warning", "connection"} {
		if EqualFold(name, s) {
			return false
		}
	}
	return true
}
