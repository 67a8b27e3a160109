package mapping

import (
	"errors"
	"strings"

	"firma/internal/intent"
)

// maxSegments bounds the depth of a path pattern.
const maxSegments = 64

// pathPattern is a compiled path. Segments are decoded, so that "%3B" and ";"
// in a request cannot mean two things to a rule.
type pathPattern struct {
	text string // canonical, "" when the rule gives no path
	segs []segment
	rest bool // ends in "**": this path and everything below
}

type segment struct {
	any  bool
	text string
}

func parsePath(s string) (pathPattern, error) {
	if s == "" {
		return pathPattern{rest: true}, nil
	}
	if strings.Contains(s, "?") {
		return pathPattern{}, errors.New(`a path has no query; write query = { name = "value" }`)
	}
	text, err := intent.CanonicalPath(s)
	if err != nil {
		return pathPattern{}, errors.New(whyOf(err))
	}
	if strings.Contains(text, "%2F") {
		return pathPattern{}, errors.New(`an encoded slash is judged as "/" too; write the segments, or "*" for one of them`)
	}
	if hasParams(text) {
		return pathPattern{}, errors.New(`";" starts path parameters, which servers may drop; write the path without them`)
	}
	if text != "/" {
		text = strings.TrimSuffix(text, "/")
	}
	return compilePath(text)
}

func compilePath(text string) (pathPattern, error) {
	p := pathPattern{text: text}
	if text == "/" {
		return p, nil
	}
	for s := range strings.SplitSeq(text[1:], "/") {
		switch {
		case p.rest:
			return pathPattern{}, errors.New(`"**" must be the last segment`)
		case s == "**":
			p.rest = true
		case s == "*":
			p.segs = append(p.segs, segment{any: true})
		case strings.Contains(s, "*"):
			return pathPattern{}, errors.New(`"*" must be a whole segment; a last segment "**" is this path and everything below`)
		default:
			p.segs = append(p.segs, segment{text: decode(s)})
		}
	}
	if len(p.segs) > maxSegments {
		return pathPattern{}, errors.New("the path has more than 64 segments")
	}
	return p, nil
}

// everything reports a pattern that no path escapes.
func (p pathPattern) everything() bool { return p.rest && len(p.segs) == 0 }

// score is the contract's: 5 for a path, 1 for each segment, 10 for a path
// without wildcards.
func (p pathPattern) score() int {
	if p.text == "" {
		return 0
	}
	score, exact := 5+len(p.segs), !p.rest
	for _, s := range p.segs {
		exact = exact && !s.any
	}
	if exact {
		score += 10
	}
	return score
}

// level rises strictly from a pattern to each pattern of the same score that it
// holds.
func (p pathPattern) level() int {
	level := 0
	for _, s := range p.segs {
		if !s.any {
			level++
		}
	}
	if !p.rest {
		level++
	}
	return level
}

// within reports that every path p matches is matched by q.
func (p pathPattern) within(q pathPattern) bool {
	if len(p.segs) < len(q.segs) || !q.rest && (p.rest || len(p.segs) != len(q.segs)) {
		return false
	}
	for i, s := range q.segs {
		if !s.any && s != p.segs[i] {
			return false
		}
	}
	return true
}

// hasParams reports path parameters in a canonical path.
func hasParams(path string) bool {
	return strings.Contains(path, ";") || strings.Contains(path, "%3B")
}

// withoutParams returns the path as a server sees it that drops parameters.
func withoutParams(path string) string {
	var b strings.Builder
	for s := range strings.SplitSeq(path[1:], "/") {
		s, _, _ = strings.Cut(s, ";")
		s, _, _ = strings.Cut(s, "%3B")
		if s != "" {
			b.WriteString("/" + s)
		}
	}
	if b.Len() == 0 {
		return "/"
	}
	return b.String()
}
