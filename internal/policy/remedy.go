package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go/types"
)

type remedyKind uint8

// The remedies, from the weakest to the strongest.
const (
	plain remedyKind = iota
	modify
	deferred
	stepUp
)

// remedy is what an annotated forbid asks for in place of a refusal.
type remedy struct {
	kind   remedyKind
	text   string        // stepUp: the challenge
	delay  time.Duration // deferred
	header string        // modify: the header to remove, lower case
}

const (
	maxChallenge = 1024      // bytes of a @step_up text
	maxDelay     = 1<<31 - 1 // milliseconds of a @defer, about 24 days
	redactPrefix = "redact_header:"
)

// framing lists the headers that say where a message ends or which connection
// it belongs to. Removing one would change what the upstream reads as the
// request, so no policy may.
var framing = []string{
	"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection",
	"te", "trailer", "transfer-encoding", "upgrade",
}

// remedyOf reads the remedies among a policy's annotations. At most one, on a
// forbid only; other annotations are for people.
func remedyOf(notes types.Annotations, permit bool) (remedy, error) {
	var out remedy
	for kind, name := range [...]types.AnnotationKey{modify: "modify", deferred: "defer", stepUp: "step_up"} {
		value, ok := notes[name]
		if !ok || name == "" {
			continue
		}
		if permit {
			return remedy{}, fmt.Errorf("@%s is for forbid only", name)
		}
		if out.kind != plain {
			return remedy{}, errors.New("a policy has at most one of @step_up, @defer and @modify")
		}
		r, err := parseRemedy(remedyKind(kind), string(value))
		if err != nil {
			return remedy{}, err
		}
		out = r
	}
	return out, nil
}

func parseRemedy(kind remedyKind, value string) (remedy, error) {
	switch kind {
	case stepUp:
		if strings.TrimSpace(value) == "" || len(value) > maxChallenge || !printable(value) {
			return remedy{}, fmt.Errorf("@step_up has a text of 1 to %d bytes without control characters", maxChallenge)
		}
		return remedy{kind: stepUp, text: value}, nil
	case deferred:
		ms, err := strconv.ParseUint(value, 10, 64)
		if err != nil || ms == 0 || ms > maxDelay || value[0] == '0' {
			return remedy{}, fmt.Errorf("@defer has a whole number of milliseconds from 1 to %d", maxDelay)
		}
		return remedy{kind: deferred, delay: time.Duration(ms) * time.Millisecond}, nil
	}
	name, ok := strings.CutPrefix(value, redactPrefix)
	if !ok || !token(name) {
		return remedy{}, errors.New(`@modify is "redact_header:NAME" with one HTTP header name`)
	}
	name = strings.ToLower(name)
	if slices.Contains(framing, name) {
		return remedy{}, fmt.Errorf("@modify can't remove %s: the message would change its meaning", name)
	}
	return remedy{kind: modify, header: name}, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// token reports whether s is a token of RFC 9110, section 5.6.2.
func token(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for _, c := range []byte(s) {
		letter := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}
