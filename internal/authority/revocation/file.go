// Package revocation keeps the list of withdrawn tokens: the append-only file it
// is written to and the log that watchers follow.
//
// The file has one token id per line. After the id may come, separated by
// spaces, at=RFC3339 (when it was revoked), expires=RFC3339 (when the token would
// have ended by itself, so that the line may be dropped) and the reason, to the
// end of the line. Empty lines and lines that start with # are skipped.
package revocation

import (
	"fmt"
	"strings"
	"time"
)

// The limits of a file. Longer ones are refused.
const (
	maxFileBytes  = 64 << 20
	maxEntries    = 1_000_000
	maxLineBytes  = 4096
	maxTokenBytes = 128
)

// Entry is one line. The zero At and Expires mean the line does not say.
type Entry struct {
	TokenID, Reason string
	At, Expires     time.Time
}

// line is the form parseLine reads back.
func (e Entry) line() string {
	var b strings.Builder
	b.WriteString(e.TokenID)
	if !e.At.IsZero() {
		b.WriteString(" at=" + e.At.UTC().Format(time.RFC3339))
	}
	if !e.Expires.IsZero() {
		b.WriteString(" expires=" + e.Expires.UTC().Format(time.RFC3339))
	}
	if e.Reason != "" {
		b.WriteString(" " + e.Reason)
	}
	return b.String() + "\n"
}

// Parse reads the text of a file. It returns every line it understands, and an
// error naming the first one it does not (as name:line): a caller that has a
// list already takes the entries and reports the error, since dropping good
// revocations for a bad one would fail open.
func Parse(name string, text []byte) ([]Entry, error) {
	var entries []Entry
	var first error
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		e, err := parseLine(line)
		switch {
		case err == nil && len(entries) >= maxEntries:
			return entries, fmt.Errorf("%s:%d: more than %d revocations", name, number, maxEntries)
		case err == nil:
			entries = append(entries, e)
		case first == nil:
			first = fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	return entries, first
}

func parseLine(line string) (Entry, error) {
	if len(line) > maxLineBytes {
		return Entry{}, fmt.Errorf("longer than %d bytes", maxLineBytes)
	}
	id, rest := word(line)
	if !ValidTokenID(id) {
		return Entry{}, fmt.Errorf("%.40q is not a token id (1 to %d printable characters)", id, maxTokenBytes)
	}
	e := Entry{TokenID: id}
	for {
		w, after := word(rest)
		value, target := attribute(&e, w)
		if target == nil {
			e.Reason = clean(rest)
			return e, nil
		}
		t, err := time.Parse(time.RFC3339, value)
		if y := t.UTC().Year(); err != nil || y < 1 || y > 9999 { // what line can write
			return Entry{}, fmt.Errorf("%.60q is not a time like 2026-01-02T15:04:05Z", value)
		}
		*target, rest = t, after
	}
}

// attribute returns the value of an at= or expires= word and where it goes.
func attribute(e *Entry, w string) (string, *time.Time) {
	if v, ok := strings.CutPrefix(w, "at="); ok {
		return v, &e.At
	}
	if v, ok := strings.CutPrefix(w, "expires="); ok {
		return v, &e.Expires
	}
	return "", nil
}

// word cuts the first space- or tab-separated word off s.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t")
	}
	return s, ""
}

// ValidTokenID reports whether s can be a token id: 1 to 128 printable ASCII
// characters without spaces, not starting with #.
func ValidTokenID(s string) bool {
	return s != "" && len(s) <= maxTokenBytes && s[0] != '#' &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// clean keeps a reason on one line and free of control characters, since it
// ends up in logs and terminals. One that begins like a time is set off from those
// before it: read as one, it could end the revocation, or make the line none.
func clean(reason string) string {
	keep := func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}
	reason = strings.TrimSpace(strings.Map(keep, strings.ToValidUTF8(reason, "?")))
	if _, target := attribute(&Entry{}, reason); target != nil {
		return "- " + reason
	}
	return reason
}
