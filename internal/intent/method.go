package intent

import "strings"

// canonicalMethod accepts a token of RFC 9110, section 5.6.2. Methods are
// case-sensitive, but some servers fold them: a known method in another case
// would be classed as unknown here and run as known there, so it is refused.
func canonicalMethod(m string) (string, error) {
	if KnownMethod(m) {
		return m, nil
	}
	if m == "" || len(m) > 64 {
		return "", refuse("the method is empty or too long")
	}
	for i := 0; i < len(m); i++ {
		if !isToken(m[i]) {
			return "", refuse("the method is not a token")
		}
	}
	if KnownMethod(strings.ToUpper(m)) {
		return "", refuse("the method is not in upper case")
	}
	return m, nil
}

// KnownMethod reports whether m is, in exactly this case, a method whose meaning
// RFC 9110 or RFC 5789 defines.
func KnownMethod(m string) bool {
	switch m {
	case "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT":
		return true
	}
	return false
}

// Repeatable reports whether making the call twice is the same as making it once (RFC
// 9110, section 9.2.2), whichever method a server takes it for: so it may be sent
// again where the first attempt may have arrived.
func (c *Call) Repeatable() bool {
	switch c.Method {
	case "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE":
		return c.Override == "" && !c.asksForMethod()
	}
	return false
}

// asksForMethod reports a query that may ask for another method. Its letters are
// plain, since it is canonical; more parameters than those that do so match.
func (c *Call) asksForMethod() bool {
	const mark = "method"
	for q := c.RawQuery; len(q) >= len(mark); q = q[1:] {
		if strings.EqualFold(q[:len(mark)], mark) {
			return true
		}
	}
	return false
}

// MethodOverride reports whether a request header of this name can make a server
// run another method than the request line's. Case does not matter, and what
// is no letter or digit is the same as "-", because servers that pass headers on as
// CGI variables cannot tell them apart.
func MethodOverride(headerName string) bool {
	const longest = len("x-http-method-override")
	if len(headerName) < len("x-http-method") || len(headerName) > longest {
		return false
	}
	var b [longest]byte
	for i := 0; i < len(headerName); i++ {
		b[i] = lowerByte(headerName[i])
		if !isAlnum(b[i]) {
			b[i] = '-'
		}
	}
	switch string(b[:len(headerName)]) {
	case "x-http-method-override", "x-http-method", "x-method-override":
		return true
	}
	return false
}

// SetOverride records the value of a method-override header. Servers fold its
// case, so the canonical form is upper case, and the proxy must send c.Override
// in place of what it received. A method that is not known, CONNECT, and a second
// header that asks for something else are refused with an *Error.
func (c *Call) SetOverride(value string) error {
	m := strings.ToUpper(strings.Trim(value, " \t"))
	if !KnownMethod(m) || m == "CONNECT" {
		return refuse("the method-override header names no known method")
	}
	if c.Override != "" && c.Override != m {
		return refuse("two method-override headers disagree")
	}
	c.Override = m
	return nil
}

func isToken(b byte) bool {
	return isAlnum(b) || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

func lowerByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}
