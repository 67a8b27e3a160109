package canon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendObject appends the canonical form of raw, which must be one JSON
// object. Of repeated keys the last counts. On error dst is returned as it was.
func AppendObject(dst, raw []byte) ([]byte, error) {
	if flat(raw) {
		return append(dst, raw...), nil
	}
	return appendParsed(dst, raw)
}

func appendParsed(dst, raw []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return dst, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return dst, errors.New("canon: data after the object")
	}
	if m == nil {
		return dst, errors.New("canon: null is not an object")
	}
	out, err := appendMap(dst, m)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func appendValue(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return AppendString(dst, v), nil
	case json.Number:
		return appendNumber(dst, v)
	case []any:
		return appendArray(dst, v)
	}
	return appendMap(dst, v.(map[string]any))
}

func appendNumber(dst []byte, v json.Number) ([]byte, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n > MaxInt || n < -MaxInt {
		return dst, fmt.Errorf("canon: %s is not an integer of at most 53 bits: write it as a string", v)
	}
	return strconv.AppendInt(dst, n, 10), nil
}

func appendArray(dst []byte, a []any) (_ []byte, err error) {
	dst = append(dst, '[')
	for i, v := range a {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendValue(dst, v); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, m map[string]any) (_ []byte, err error) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareUTF16)
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, k), ':')
		if dst, err = appendValue(dst, m[k]); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// compareUTF16 orders keys by their UTF-16 code units (RFC 8785 section 3.2.3).
// That differs from byte order only where a character beyond U+FFFF meets one
// from U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	if ascii(a) && ascii(b) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
