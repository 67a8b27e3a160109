package canon

import "slices"

// AppendStrings appends the object of the given key, value, key, value … strings
// in canonical form. Of repeated keys the last counts; a key without a value is
// ignored. It does not change pairs.
func AppendStrings(dst []byte, pairs ...string) []byte {
	var few [8]int
	order := few[:0] // indices of keys
	for i := 0; i+1 < len(pairs); i += 2 {
		at, again := slices.BinarySearchFunc(order, pairs[i], func(j int, key string) int { return compareUTF16(pairs[j], key) })
		if again {
			order[at] = i
		} else {
			order = slices.Insert(order, at, i)
		}
	}
	dst = append(dst, '{')
	for n, i := range order {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, pairs[i]), ':')
		dst = AppendString(dst, pairs[i+1])
	}
	return append(dst, '}')
}

// flat reports whether raw is the canonical form of an object of strings that need
// no escapes, as most are that get here. What it does not recognise may be
// canonical all the same.
func flat(raw []byte) bool {
	if len(raw) < 2 || raw[0] != '{' {
		return false
	}
	var last []byte
	for rest := raw[1:]; ; {
		key, after := plainString(rest)
		if after == nil || after[0] != ':' || last != nil && string(key) <= string(last) {
			return false
		}
		last = key
		if _, after = plainString(after[1:]); after == nil {
			return false
		}
		switch {
		case after[0] == ',':
			rest = after[1:]
		default:
			return string(after) == "}"
		}
	}
}

// plainString returns what is between the quotes that raw begins with, if that is
// ASCII without escapes, and what follows, which is not empty; else nil.
func plainString(raw []byte) (s, after []byte) {
	if len(raw) == 0 || raw[0] != '"' {
		return nil, nil
	}
	for i := 1; i+1 < len(raw); i++ {
		if raw[i] == '"' {
			return raw[1:i], raw[i+1:]
		}
		if !plain(raw[i]) {
			return nil, nil
		}
	}
	return nil, nil
}
