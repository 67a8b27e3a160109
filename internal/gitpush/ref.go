package gitpush

import (
	"bytes"
	"unicode/utf8"
)

// validRef is git-check-ref-format(1) for a full name, without the names outside
// refs/ that a server does not update by push.
func validRef(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("refs/")) || !utf8.Valid(b) || bytes.HasSuffix(b, []byte(".")) {
		return false
	}
	for _, bad := range []string{"..", "@{", "//"} {
		if bytes.Contains(b, []byte(bad)) {
			return false
		}
	}
	for _, c := range b {
		if c <= ' ' || c == 0x7f || bytes.IndexByte([]byte(`~^:?*[\`), c) >= 0 {
			return false
		}
	}
	for part := range bytes.SplitSeq(b, []byte{'/'}) {
		if len(part) == 0 || part[0] == '.' || bytes.HasSuffix(part, []byte(".lock")) {
			return false
		}
	}
	return true
}
