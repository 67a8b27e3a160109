package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// hashing is the scratch space of one ContextHash.
type hashing struct {
	context Context // a copy: a pointer would move the caller's to the heap
	json    []byte
	set     []string
}

var hashings = sync.Pool{New: func() any { return &hashing{json: make([]byte, 0, 1024)} }}

// ContextHash returns the lower-case hex SHA-256 of the canonical JSON of r's
// context: one object of the bound attributes in the order of their names,
// strings as RFC 8785 writes them, integers in decimal, sets as sorted arrays,
// no white space. It is safe for concurrent use.
func (b *Bundle) ContextHash(r Request) string {
	h := hashings.Get().(*hashing)
	h.context = r.Context
	h.json = h.appendContext(h.json[:0], &h.context)
	sum := sha256.Sum256(h.json)
	h.context = Context{}
	if cap(h.json) <= 64<<10 { // a rare huge context must not stay in the pool
		clear(h.set)
		hashings.Put(h)
	}
	var out [2 * sha256.Size]byte
	hex.Encode(out[:], sum[:])
	return string(out[:])
}

func (h *hashing) appendContext(to []byte, c *Context) []byte {
	to = append(to, '{')
	for i := range contextFields {
		f := &contextFields[i]
		text, bound := "", true
		if f.text != nil {
			text, bound = f.text(c)
		}
		if !bound {
			continue
		}
		if len(to) > 1 {
			to = append(to, ',')
		}
		to = append(appendString(to, f.name), ':')
		switch {
		case f.text != nil:
			to = appendString(to, text)
		case f.set != nil:
			to = h.appendSet(to, f.set(c))
		default:
			to = strconv.AppendInt(to, f.long(c), 10)
		}
	}
	return append(to, '}')
}

func (h *hashing) appendSet(to []byte, items []string) []byte {
	to = append(to, '[')
	for i, s := range h.sorted(items) {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendString(to, s)
	}
	return append(to, ']')
}

// sorted returns items in order and without repetitions: itself when it is so
// already, else a copy that is good until the next call.
func (h *hashing) sorted(items []string) []string {
	ordered := true
	for i := 1; i < len(items) && ordered; i++ {
		ordered = items[i-1] < items[i]
	}
	if ordered {
		return items
	}
	h.set = append(h.set[:0], items...)
	slices.Sort(h.set)
	h.set = slices.Compact(h.set)
	return h.set
}

const hexDigits = "0123456789abcdef"

// appendString writes s as RFC 8785, section 3.2.2.2 asks: the short escapes,
// \u00xx for other control characters, everything else as it is. Bytes that are
// not UTF-8 become U+FFFD.
func appendString(to []byte, s string) []byte {
	to = append(to, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			to = utf8.AppendRune(to, r)
			i += size
			continue
		}
		i++
		if c >= ' ' && c != '"' && c != '\\' {
			to = append(to, c)
			continue
		}
		to = appendEscape(to, c)
	}
	return append(to, '"')
}

func appendEscape(to []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(to, '\\', c)
	case '\b':
		return append(to, `\b`...)
	case '\t':
		return append(to, `\t`...)
	case '\n':
		return append(to, `\n`...)
	case '\f':
		return append(to, `\f`...)
	case '\r':
		return append(to, `\r`...)
	}
	return append(to, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
