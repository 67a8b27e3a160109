package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"firma/internal/fault"
)

// node is a value of a file, whatever its syntax: a table, a list or a scalar
// (string, bool, int64, float64; anything else no key accepts).
type node struct {
	at    place
	table map[string]*node
	list  []*node
	value any
	kind  kind
}

type kind uint8

const (
	scalar kind = iota
	table
	list
)

func (n *node) what() string {
	switch n.kind {
	case table:
		return "a table"
	case list:
		return "a list"
	}
	switch n.value.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	}
	return "a date"
}

// place is a position in a file, both from 1; the zero value is unknown.
type place struct{ line, column int }

// problem is one mistake.
type problem struct {
	at   place
	text string
}

// problems are the mistakes of one file.
type problems struct {
	path string
	all  []problem
}

func (p *problems) add(at place, format string, args ...any) {
	p.all = append(p.all, problem{at, visible(fmt.Sprintf(format, args...))})
}

// visible keeps what a file says from acting on the terminal it is shown on.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

const maxProblems = 20

// fault reports all mistakes at once, in the order of the file; nil without any.
func (p *problems) fault(name, fix string) error {
	if len(p.all) == 0 {
		return nil
	}
	slices.SortStableFunc(p.all, func(a, b problem) int {
		if a.at.line != b.at.line {
			return a.at.line - b.at.line
		}
		return a.at.column - b.at.column
	})
	var lines []string
	for _, pr := range p.all {
		lines = append(lines, p.where(pr.at)+pr.text)
	}
	if more := len(lines) - maxProblems; more > 0 {
		lines = append(lines[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	return fault.New(name, strings.Join(lines, "\n"), fix)
}

func (p *problems) where(at place) string {
	if at.line == 0 {
		return p.path + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", p.path, at.line, at.column)
}
