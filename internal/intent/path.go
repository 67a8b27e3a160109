package intent

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// CanonicalPath returns the one spelling of a path: it starts with "/", has no
// empty and no dot segments (a trailing slash stays), characters that mean the
// same with and without percent-encoding are plain, and all others are encoded
// with upper-case digits. "" becomes "/". It refuses, with an *Error, what
// servers are known to read in different ways: backslashes and control
// characters, bytes that are not UTF-8, dot segments above the root, and dot
// segments with path parameters ("..;"). An encoded slash stays, as "%2F", where
// it stands between two names ("/@scope%2Fname", as npm asks): a server that
// decodes it sees Call.Decoded, and both readings are judged. It is idempotent and does not
// allocate for a path that is plain and canonical already.
func CanonicalPath(p string) (string, error) {
	if p == "" {
		return "/", nil
	}
	if p[0] != '/' {
		return "", refuse("the path does not start with a slash")
	}
	if isPlainPath(p) {
		return p, nil
	}
	b, err := recodePath(p)
	if err != nil {
		return "", err
	}
	return resolveDots(b)
}

// isPlainPath is the fast path. It may say no to a canonical path, and never
// says yes to another one.
func isPlainPath(p string) bool {
	for i := 0; i < len(p); i++ {
		if !isPathByte(p[i]) {
			return false
		}
		if p[i] == '/' && i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.') {
			return false
		}
	}
	return true
}

// recodePath settles the percent-encoding, byte by byte.
func recodePath(p string) ([]byte, error) {
	out := make([]byte, 0, len(p)+16)
	plain := make([]byte, 0, len(p))
	for i := 0; i < len(p); {
		b, n, err := nextByte(p[i:])
		if err != nil {
			return nil, err
		}
		if err := checkPathByte(b, n > 1); err != nil {
			return nil, err
		}
		if n == 1 && isPathByte(b) || n > 1 && b != '/' && meansTheSameEncoded(b) {
			out = append(out, b)
		} else {
			out = appendEncoded(out, b)
		}
		plain = append(plain, b)
		i += n
	}
	if !utf8.Valid(plain) {
		return nil, refuse("the path is not UTF-8")
	}
	return out, nil
}

func checkPathByte(b byte, encoded bool) error {
	switch {
	case b == '\\':
		return refuse("the path has a backslash")
	case b < ' ' || b == 0x7f:
		return refuse("the path has a control character")
	case !encoded && b == ' ':
		return refuse("the path has a space")
	case !encoded && b == '#':
		return refuse("the target has a fragment")
	}
	return nil
}

// resolveDots removes empty segments first and dot segments second, as the
// servers do that merge slashes. What is sent has neither, so the order is nobody
// else's concern.
func resolveDots(p []byte) (string, error) {
	out := make([]byte, 0, len(p))
	trailing := false
	for seg := range bytes.SplitSeq(p[1:], []byte("/")) {
		trailing = true
		if err := checkEncodedSlashes(seg, encodedSlash); err != nil {
			return "", err
		}
		if err := checkTwice(seg); err != nil {
			return "", err
		}
		switch name, params := cutParams(seg); {
		case spacedDots(name):
			return "", refuse("the path has a dot segment with a space")
		case params && (name == "." || name == ".."):
			return "", refuse("the path has a dot segment with parameters")
		case name == "" && !params || name == ".":
		case name == "..":
			if len(out) == 0 {
				return "", refuse("the path climbs above its root")
			}
			out = out[:bytes.LastIndexByte(out, '/')]
		default:
			out = append(append(out, '/'), seg...)
			trailing = false
		}
	}
	if trailing {
		out = append(out, '/')
	}
	return string(out), nil
}

// spacedDots reports a dot segment with spaces behind it, which Windows drops.
func spacedDots(name string) bool {
	dots := strings.TrimRight(strings.ReplaceAll(name, "%20", " "), " ")
	return (dots == "." || dots == "..") && dots != name
}

// checkEncodedSlashes refuses a segment that falls apart into something other than
// names when its encoded slashes, spelt as slash, are decoded.
func checkEncodedSlashes(seg, slash []byte) error {
	if !bytes.Contains(seg, slash) {
		return nil
	}
	for part := range bytes.SplitSeq(seg, slash) {
		if name, _ := cutParams(part); name == "" || name == "." || name == ".." || spacedDots(name) {
			return refuse("the path has an encoded slash beside a slash, a dot segment or nothing")
		}
	}
	return nil
}

var (
	encodedSlash = []byte("%2F")
	plainSlash   = []byte("/")
	percent      = []byte("%25")
)

// checkTwice refuses what only makes sense for a server that decodes twice: an
// encoded percent sign before the digits of a character that nobody needs to
// encode, of a backslash or of a control character, and dot segments between
// slashes encoded so. Other characters do occur: Jenkins names branches like
// "a%252Fb".
func checkTwice(seg []byte) error {
	i := bytes.Index(seg, percent)
	if i < 0 {
		return nil
	}
	once := make([]byte, 0, len(seg))
	for ; i >= 0; i = bytes.Index(seg, percent) {
		once = append(once, seg[:i]...)
		for seg = seg[i+len(percent):]; bytes.HasPrefix(seg, percent[1:]); { // and more than twice
			seg = seg[2:]
		}
		b, n := byte('%'), 0
		if len(seg) >= 2 {
			if c, _, err := nextByte("%" + string(seg[:2])); err == nil {
				b, n = c, 2
			}
		}
		if n > 0 && (isUnreserved(b) || b == '\\' || b < ' ' || b == 0x7f) {
			return refuse("the path is encoded twice")
		}
		once, seg = append(once, b), seg[n:]
	}
	return checkEncodedSlashes(append(once, seg...), plainSlash)
}

// Decoded returns the path as a server reads it that decodes encoded slashes, ""
// when there are none. Whoever judges c.Path judges this too.
func (c *Call) Decoded() string {
	if strings.IndexByte(c.Path, '%') < 0 || !strings.Contains(c.Path, "%2F") {
		return ""
	}
	return strings.ReplaceAll(c.Path, "%2F", "/")
}

// BeforeQuery returns a canonical path up to an encoded "?" or "#": a server that passes on what
// it has decoded makes a query or a fragment of the rest.
func BeforeQuery(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	for _, mark := range [...]string{"%3F", "%23"} {
		path, _, _ = strings.Cut(path, mark)
	}
	return path
}

// cutParams splits a segment before its path parameters (";x=1"), plain or
// encoded. Some servers drop them before they look at the path.
func cutParams(seg []byte) (name string, params bool) {
	s := string(seg)
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s, params = s[:i], true
	}
	if i := strings.Index(s, "%3B"); i >= 0 {
		s, params = s[:i], true
	}
	return s, params
}
