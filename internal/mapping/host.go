package mapping

import (
	"errors"
	"strings"

	"firma/internal/intent"
)

// hostKind orders host patterns from wide to narrow.
type hostKind uint8

const (
	everyHost hostKind = iota // "*"
	anyDepth                  // "**.x": one label or more in front of x
	oneLabel                  // "*.x": exactly one label in front of x
	exactHost
)

// hostPattern is a compiled host. key is intent.HostKey of what stands after the
// wildcard, and for everyHost the port as ":8443" or "". Two patterns are either
// disjoint or one holds the other.
type hostPattern struct {
	kind hostKind
	key  string
	name string // key without port
}

func parseHost(s string) (hostPattern, error) {
	kind, rest := exactHost, s
	switch {
	case s == "*" || strings.HasPrefix(s, "*:"):
		return parseEveryHost(s)
	case strings.HasPrefix(s, "**."):
		kind, rest = anyDepth, s[3:]
	case strings.HasPrefix(s, "*."):
		kind, rest = oneLabel, s[2:]
	}
	if strings.Contains(rest, "*") {
		return hostPattern{}, errors.New(`in a host, "*" or "**" must be the whole first label, as in "*.example.com" (one label) or "**.example.com" (one or more); "*" alone is every host`)
	}
	name, port, err := intent.SplitHostPort(rest)
	if err != nil {
		return hostPattern{}, errors.New(whyOf(err))
	}
	if kind != exactHost && isAddress(name) {
		return hostPattern{}, errors.New("an address has no labels, so it takes no wildcard")
	}
	return hostPattern{kind: kind, key: intent.HostKey(name, port), name: name}, nil
}

func parseEveryHost(s string) (hostPattern, error) {
	if s == "*" {
		return hostPattern{kind: everyHost}, nil
	}
	_, port, err := intent.SplitHostPort("a" + s[1:])
	if err != nil {
		return hostPattern{}, errors.New(whyOf(err))
	}
	return hostPattern{kind: everyHost, key: intent.HostKey("", port)}, nil
}

func isAddress(name string) bool {
	_, addr, err := intent.CanonicalHost(name)
	return err == nil && addr.IsValid()
}

// whyOf takes the reason out of an intent.Error, which speaks of requests.
func whyOf(err error) string {
	var e *intent.Error
	if errors.As(err, &e) {
		return e.Why
	}
	return err.Error()
}

// String returns the pattern in the form of the rules file.
func (h hostPattern) String() string {
	switch h.kind {
	case everyHost:
		return "*" + h.key
	case anyDepth:
		return "**." + h.key
	case oneLabel:
		return "*." + h.key
	}
	return h.key
}

// level rises strictly from a pattern to each pattern it holds.
func (h hostPattern) level() int {
	if h.kind == everyHost {
		return 0
	}
	return strings.Count(h.name, ".") + 1 + int(h.kind)
}
