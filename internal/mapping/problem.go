package mapping

import (
	"fmt"
	"slices"
	"strings"

	"firma/internal/fault"
)

// problem is one mistake in a file, at a place in bytes.
type problem struct {
	place int
	name  string
	why   string
}

func (p *parser) complain(place int, name, format string, args ...any) {
	p.problems = append(p.problems, problem{place, name, fmt.Sprintf(format, args...)})
}

func (p *parser) fault() error {
	slices.SortStableFunc(p.problems, func(a, b problem) int { return a.place - b.place })
	name := p.problems[0].name
	var lines []string
	for _, pr := range p.problems {
		lines = append(lines, p.at(pr.place)+": "+pr.why)
		if pr.name != name {
			name = invalidRules
		}
	}
	return fault.New(name, strings.Join(lines, "\n"), fixOf(name))
}

// at returns "file:line:column" for a byte offset.
func (p *parser) at(place int) string {
	line, column := p.position(place)
	return fmt.Sprintf("%s:%d:%d", p.name, line, column)
}

func (p *parser) position(place int) (line, column int) {
	if p.lines == nil {
		p.lines = []int{0}
		for i, b := range p.data {
			if b == '\n' {
				p.lines = append(p.lines, i+1)
			}
		}
	}
	line, found := slices.BinarySearch(p.lines, place)
	if found {
		line++
	}
	return line, place - p.lines[line-1] + 1
}
