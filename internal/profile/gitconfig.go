package profile

import "strings"

// gitSettings calls set with each variable of a configuration file, as git reads it
// (git-config(1), "Syntax"): section and name in lower case, a subsection behind a
// dot and as it is written, a variable without a value with "". It ends where git
// would give the file up, which it reports; what was set before that counts, since
// another version of git may read on.
func gitSettings(text string, set func(section, name, value string)) (whole bool) {
	r := gitReader{text: strings.TrimPrefix(text, "\ufeff")}
	section := ""
	for {
		c, ok := r.next()
		switch {
		case !ok:
			return true
		case isGitSpace(c):
		case c == '#' || c == ';':
			r.comment()
		case c == '[':
			if section, ok = r.section(); !ok {
				return false
			}
		case isAlpha(c):
			name, value, ok := r.variable(c)
			if !ok {
				return false
			}
			set(section, name, value)
		default:
			return false
		}
	}
}

// gitReader reads a configuration file byte by byte; the end of a line is "\n",
// however it is written, and there is one at the end of the file.
type gitReader struct{ text string }

func (r *gitReader) next() (c byte, ok bool) {
	if r.text == "" {
		return '\n', false
	}
	if strings.HasPrefix(r.text, "\r\n") {
		r.text = r.text[1:]
	}
	c, r.text = r.text[0], r.text[1:]
	return c, true
}

func (r *gitReader) comment() {
	for c, ok := r.next(); ok && c != '\n'; c, ok = r.next() {
	}
}

// section reads `name]` or `name "sub"]`.
func (r *gitReader) section() (string, bool) {
	var name strings.Builder
	for {
		c, ok := r.next()
		switch {
		case !ok:
			return "", false
		case c == ']':
			return name.String(), true
		case isGitSpace(c):
			return r.subsection(name.String(), c)
		case !isKey(c) && c != '.':
			return "", false
		}
		name.WriteByte(lower(c))
	}
}

func (r *gitReader) subsection(name string, c byte) (string, bool) {
	var sub strings.Builder
	for ok := true; isGitSpace(c); c, ok = r.next() {
		if c == '\n' || !ok {
			return "", false
		}
	}
	if c != '"' {
		return "", false
	}
	for {
		c, ok := r.next()
		if c == '"' {
			c, _ = r.next()
			return name + "." + sub.String(), c == ']'
		}
		if c == '\\' && ok {
			c, ok = r.next()
		}
		if c == '\n' || !ok {
			return "", false
		}
		sub.WriteByte(c)
	}
}

// variable reads `name`, which begins with c, and `= value`, if that is there.
func (r *gitReader) variable(c byte) (name, value string, ok bool) {
	var key strings.Builder
	for ; isKey(c); c, _ = r.next() {
		key.WriteByte(lower(c))
	}
	for c == ' ' || c == '\t' {
		c, _ = r.next()
	}
	switch c {
	case '\n':
		return key.String(), "", true
	case '=':
		value, ok = r.value()
		return key.String(), value, ok
	}
	return "", "", false
}

// value reads up to the end of the line, or further where that is escaped. Blanks
// around it and a comment behind it don't count, unless they are quoted.
func (r *gitReader) value() (string, bool) {
	var v []byte
	kept := 0 // of v; what is behind are blanks
	for quoted := false; ; {
		c, _ := r.next()
		switch {
		case c == '\n':
			return string(v[:kept]), !quoted
		case isGitSpace(c) && !quoted:
			if kept > 0 {
				v = append(v, c)
			}
			continue
		case (c == '#' || c == ';') && !quoted:
			r.comment()
			return string(v[:kept]), true
		case c == '"':
			quoted = !quoted
			kept = len(v)
			continue
		case c == '\\':
			kept = len(v) // blanks before an escaped end of line stay
			switch c, _ = r.next(); c {
			case '\n':
				continue
			case 't':
				c = '\t'
			case 'b':
				c = '\b'
			case 'n':
				c = '\n'
			case '\\', '"':
			default:
				return "", false
			}
		}
		v = append(v, c)
		kept = len(v)
	}
}

func isGitSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isKey(c byte) bool { return isAlpha(c) || '0' <= c && c <= '9' || c == '-' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
