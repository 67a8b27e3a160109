package artifact

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keys are all that a policy source may hold; every one is required.
var keys = []string{"policy_id", "policy_version", "default_action", "deny_actions", "source_policy_refs"}

// source is one file while it is read.
type source struct {
	name     string
	data     []byte
	toml     unstable.Parser
	fields   map[string]field
	problems []problem
}

// field is a key's value: a text, or a list of texts.
type field struct {
	place  int // in bytes
	isText bool
	texts  []string
	places []int // of each text
}

type problem struct {
	place int
	why   string
}

func (s *source) complain(place int, format string, args ...any) {
	s.problems = append(s.problems, problem{place, fmt.Sprintf(format, args...)})
}

func (s *source) read() {
	s.toml.Reset(s.data)
	for s.toml.NextExpression() {
		switch e := s.toml.Expression(); e.Kind {
		case unstable.KeyValue:
			s.keyValue(e)
		case unstable.Table, unstable.ArrayTable:
			s.complain(s.keyPlace(e), "a policy has no tables")
			return
		}
	}
	if err := s.toml.Error(); err != nil {
		place := len(s.data)
		var syntax *unstable.ParserError
		if errors.As(err, &syntax) && len(syntax.Highlight) > 0 {
			place = int(s.toml.Range(syntax.Highlight).Offset)
		}
		s.complain(place, "%s", strings.TrimPrefix(err.Error(), "toml: "))
		return
	}
	for _, k := range keys {
		if !s.has(k) {
			s.complain(0, "%s is missing", k)
		}
	}
}

func (s *source) keyValue(e *unstable.Node) {
	var parts []string
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
	}
	key, place := strings.Join(parts, "."), s.keyPlace(e)
	switch {
	case len(parts) != 1 || !slices.Contains(keys, key):
		s.complain(place, "unknown key %q (have %s)", key, strings.Join(keys, ", "))
	case s.has(key):
		s.complain(place, "%s is set twice", key)
	default:
		s.fields[key] = s.value(key, place, e.Value())
	}
}

func (s *source) value(key string, place int, v *unstable.Node) field {
	f := field{place: place}
	switch v.Kind {
	case unstable.String:
		f.isText = true
		f.texts, f.places = []string{string(v.Data)}, []int{place}
	case unstable.Array:
		for it := v.Children(); it.Next(); {
			n := it.Node()
			if n.Kind == unstable.Comment {
				continue
			}
			if n.Kind != unstable.String || len(n.Data) == 0 {
				s.complain(place, "%s must hold nothing but texts", key)
				continue
			}
			f.texts, f.places = append(f.texts, string(n.Data)), append(f.places, int(n.Raw.Offset))
		}
	default:
		s.complain(place, "%s has a value of the wrong type", key)
	}
	return f
}

func (s *source) has(key string) bool { _, ok := s.fields[key]; return ok }

func (s *source) text(key string) string {
	f, ok := s.fields[key]
	switch {
	case !ok:
		return ""
	case !f.isText || f.texts[0] == "":
		s.complain(f.place, "%s must be a text", key)
		return ""
	}
	return f.texts[0]
}

func (s *source) list(key string) []string {
	f, ok := s.fields[key]
	if ok && f.isText {
		s.complain(f.place, "%s must be a list of texts", key)
		return nil
	}
	return f.texts
}

func (s *source) keyPlace(e *unstable.Node) int {
	for it := e.Key(); it.Next(); {
		return int(it.Node().Raw.Offset)
	}
	return 0
}

// position is the line and column, both from 1, of a byte.
func (s *source) position(place int) (line, column int) {
	before := string(s.data[:min(place, len(s.data))])
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n')
}
