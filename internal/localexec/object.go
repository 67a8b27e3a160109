package localexec

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// object calls set with each member of the one JSON object that line holds.
func object(line []byte, limit int, set func(name string, value json.RawMessage) error) error {
	if len(line) > limit {
		return badFormat("the line has more than %d bytes", limit)
	}
	if !utf8.Valid(line) || bytes.ContainsAny(line, "\r\n") {
		return badFormat("it is not one line of UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return badFormat("it is not a JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		if err := member(dec, seen, set); err != nil {
			return err
		}
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('}') {
		return badFormat("it is not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return badFormat("something follows the JSON object")
	}
	return nil
}

func member(dec *json.Decoder, seen map[string]bool, set func(string, json.RawMessage) error) error {
	t, err := dec.Token()
	name, ok := t.(string)
	if err != nil || !ok {
		return badFormat("it is not a JSON object")
	}
	if seen[name] {
		return badFormat("the key %.40q appears twice", name)
	}
	seen[name] = true
	var value json.RawMessage
	if err := dec.Decode(&value); err != nil {
		return badFormat("it is not a JSON object")
	}
	return set(name, value)
}

// fields are the members an object may have. A value is read by the function of
// its key; null counts as absent where the key is optional.
type fields map[string]field

type field struct {
	required bool
	read     func(json.RawMessage) error
}

func (f fields) parse(line []byte, limit int) error {
	given := map[string]bool{}
	err := object(line, limit, func(name string, value json.RawMessage) error {
		known, ok := f[name]
		switch {
		case !ok:
			return badFormat("unknown key %.40q", name)
		case !known.required && string(value) == "null":
			return nil
		}
		given[name] = true
		if err := known.read(value); err != nil {
			return badFormat("%s: %s", name, err.Error())
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name, known := range f {
		if known.required && !given[name] {
			return badFormat("%s is missing", name)
		}
	}
	return nil
}

func need(read func(json.RawMessage) error) field     { return field{required: true, read: read} }
func optional(read func(json.RawMessage) error) field { return field{read: read} }

// text reads a string. The decoder puts U+FFFD where an escape names half a
// surrogate pair, so text with U+FFFD does not say what its sender meant.
func text(to *string, limit int) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, to) != nil {
			return badFormat("it is not a string")
		}
		return checkText(*to, limit)
	}
}

func list(to *[]string) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var values []json.RawMessage
		if len(value) == 0 || value[0] != '[' || json.Unmarshal(value, &values) != nil {
			return badFormat("it is not a list")
		}
		*to = make([]string, len(values))
		for i, v := range values {
			if err := text(&(*to)[i], MaxRequest)(v); err != nil {
				return err
			}
		}
		return nil
	}
}

func millis(to *uint32) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		n, err := strconv.ParseUint(string(value), 10, 32)
		if err != nil {
			return badFormat("it is not a number of milliseconds")
		}
		*to = uint32(n)
		return nil
	}
}

func checkText(s string, limit int) error {
	switch {
	case len(s) > limit:
		return badFormat("it has more than %d bytes", limit)
	case !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError):
		return badFormat("it is not valid UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return badFormat("it holds a NUL")
	}
	return nil
}

// checkID is for names that are compared, printed and logged: visible ASCII.
func checkID(s string) error {
	if s == "" || len(s) > maxID {
		return badFormat("it must have 1 to %d characters", maxID)
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return badFormat("it must be visible ASCII")
		}
	}
	return nil
}

// encode writes one line with its line feed.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}
