package policy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"firma/internal/fault"
)

// Problem is one thing wrong with a bundle. Line and Col count from 1 in File, or
// in the text given to Compile if that was not joined; 0 means the place is
// unknown. Col counts characters.
type Problem struct {
	File      string // of a joined text, else ""
	Line, Col int
	Policy    string // policy id, "" when the text did not parse
	Text      string
}

func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Col)
	}
	if p.Policy != "" {
		fmt.Fprintf(&b, "policy %q: ", p.Policy)
	}
	return b.String() + p.Text
}

// Error is every problem found in a bundle, in the order of the text.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// rejected is the fault Compile returns; errors.As finds the *Error in it.
func rejected(problems ...Problem) error {
	return fault.Wrap(&Error{problems}, "PolicyInvalid",
		"the policies are not valid, and nothing of them is in force",
		"correct them; `firma policy validate FILE` checks one file")
}

// at is a problem at a byte offset of text.
func at(text []byte, offset int, what string) Problem {
	before := text[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return Problem{
		Line: bytes.Count(before, []byte{'\n'}) + 1,
		Col:  utf8.RuneCount(before[start:]) + 1,
		Text: what,
	}
}

// unplaced moves the place that the parser writes into its message
// ("parse error at <input>:3:5 …") to the fields of a Problem.
func unplaced(err error) Problem {
	msg := strings.TrimPrefix(err.Error(), "parser error: ")
	head, tail, ok := strings.Cut(msg, "<input>:")
	if !ok {
		return Problem{Text: msg}
	}
	end := strings.IndexFunc(tail, func(r rune) bool { return r != ':' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(tail)
	}
	row, col, _ := strings.Cut(strings.TrimRight(tail[:end], ":"), ":")
	p := Problem{Text: strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(head), " at") + tail[end:])}
	p.Line, _ = strconv.Atoi(row)
	p.Col, _ = strconv.Atoi(col)
	return p
}

// precise turns the parser's "exact got X want Y" to words. It stands at the
// token after X, so the place is moved back to X.
func precise(text []byte, p Problem) Problem {
	_, what, ok := strings.Cut(p.Text, "exact got ")
	if !ok {
		return p
	}
	got, want, ok := strings.Cut(what, " want ")
	if !ok {
		return p
	}
	if got == "" {
		p.Text = fmt.Sprintf("expected %q and found the end of the text", want)
		return p
	}
	words := fmt.Sprintf("expected %q and found %q", want, got)
	if i := bytes.LastIndex(text[:offset(text, p)], []byte(got)); i >= 0 {
		return at(text, i, words)
	}
	p.Text = words
	return p
}

// offset is the byte offset of p's place, at most the length of text.
func offset(text []byte, p Problem) int {
	start := 0
	for line := 1; line < p.Line; line++ {
		i := bytes.IndexByte(text[start:], '\n')
		if i < 0 {
			return len(text)
		}
		start += i + 1
	}
	for col := 1; col < p.Col && start < len(text); col++ {
		_, size := utf8.DecodeRune(text[start:])
		start += size
	}
	return start
}
