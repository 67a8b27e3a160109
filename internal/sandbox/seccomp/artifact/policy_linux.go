package artifact

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"firma/internal/fault"
	"firma/internal/sandbox/seccomp"
)

// Policy is a policy source: what to deny on top of the base.
type Policy struct {
	ID, Version string
	DenyActions []string // in the order in which they are compiled
	SourceRefs  []string // where the policy comes from, for its reader
	Source      []byte
	SHA256      string // of Source, hex

	path  string // "" when shipped
	calls []seccomp.Call
}

// Denied are the names of the calls that the policy denies, in the order in which
// they are compiled. The base is not among them.
func (p *Policy) Denied() []string {
	names := []string{}
	for _, c := range p.calls {
		names = append(names, c.Name)
	}
	return names
}

// maxSource and maxName bound a source in bytes, and an id or a version in runes.
const (
	maxSource = 64 << 10
	maxName   = 128
)

const policyInvalid = "SeccompPolicyInvalid"

func readPolicy(path string) (*Policy, error) {
	if path == "" {
		return ParsePolicy(shippedName, []byte(Shipped))
	}
	data, err := readSource(path)
	if err != nil {
		return nil, err
	}
	p, err := ParsePolicy(path, data)
	if err == nil {
		p.path = path
	}
	return p, err
}

// ParsePolicy reads a policy source, TOML; name stands in messages. All mistakes
// are reported together, each with line and column, as one fault named
// SeccompPolicyInvalid.
func ParsePolicy(name string, data []byte) (*Policy, error) {
	s := &source{name: name, data: data, fields: map[string]field{}}
	if len(data) > maxSource || !utf8.Valid(data) {
		s.complain(0, "a policy is UTF-8 text of at most %d bytes", maxSource)
		return nil, s.fault()
	}
	s.read()
	p := &Policy{ID: s.label("policy_id"), Version: s.label("policy_version"), SourceRefs: s.list("source_policy_refs")}
	if action := s.text("default_action"); action != "" && action != "allow" {
		s.complain(s.fields["default_action"].place, `default_action must be "allow", not %q: what is refused is listed`, action)
	}
	if len(p.SourceRefs) == 0 && s.has("source_policy_refs") {
		s.complain(s.fields["source_policy_refs"].place, "source_policy_refs must name at least one document")
	}
	s.actions(p)
	if len(s.problems) > 0 {
		return nil, s.fault()
	}
	p.Source, p.SHA256 = data, checksum(data)
	return p, nil
}

// actions settles deny_actions: each known, none twice, compiled in a fixed order
// so that their order in the source does not matter.
func (s *source) actions(p *Policy) {
	named := s.list("deny_actions")
	for i, a := range named {
		place := s.fields["deny_actions"].places[i]
		if slices.Contains(named[:i], a) {
			s.complain(place, "%s is there twice", a)
		}
		if _, err := seccomp.Action(a); err != nil {
			s.complain(place, "%v", err)
		}
	}
	p.DenyActions = []string{}
	for _, a := range seccomp.Actions {
		if slices.Contains(named, a) {
			calls, _ := seccomp.Action(a) // it was looked up above
			p.DenyActions = append(p.DenyActions, a)
			p.calls = append(p.calls, calls...)
		}
	}
}

// label is a text that becomes a directory.
func (s *source) label(key string) string {
	v := s.text(key)
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.RuneCountInString(v) > maxName || strings.ContainsFunc(v, bad) {
		s.complain(s.fields[key].place, "%s must be at most %d printable characters", key, maxName)
	}
	return v
}

func (s *source) fault() error {
	slices.SortStableFunc(s.problems, func(a, b problem) int { return a.place - b.place })
	var lines []string
	for _, p := range s.problems {
		line, column := s.position(p.place)
		lines = append(lines, fmt.Sprintf("%s:%d:%d: %s", s.name, line, column, p.why))
	}
	return fault.New(policyInvalid, strings.Join(lines, "\n"), "correct the policy; docs/seccomp.md describes it, and `firma seccomp show --source` prints the shipped one")
}
