package escape

import (
	"slices"
	"strings"

	"firma/internal/testkit/account"
)

// verdict is what a try must come to inside.
type verdict int

const (
	refused   verdict = iota // BLOCKED
	contained                // may work, but nothing of it may reach the host
	allowed                  // must work: the control that the way in is alive
	limit                    // known to reach the host; docs/status.md says so
)

// attempt is one technique with what is expected of it.
type attempt struct {
	do       []string
	want     verdict
	outside  []string                     // another try that stands for the control; nil = the same
	without  func(account.Account) string // why this account can have no control; "" = it can
	absent   []string                     // errnos by which this kernel says that it has no such thing
	recorded string                       // part of the resource of the refusal that must be in the audit log
	why      string                       // of a limit
}

// try is a technique that must succeed outside and be refused inside.
func try(do ...string) attempt { return attempt{do: do, absent: noSuchThing} }

// noSuchThing are the answers of a kernel without the call, the family, or the
// protocol.
var noSuchThing = []string{"ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP", "ENODEV"}

// rootOnly: outside, only root may do this, so an ordinary user has no control.
func (a attempt) rootOnly() attempt {
	a.without = func(who account.Account) string {
		if who.Ordinary() {
			return "an ordinary user may not do this outside either"
		}
		return ""
	}
	return a
}

// noControl: the control can't be had for anybody, and why.
func (a attempt) noControl(why string) attempt {
	a.without = func(account.Account) string { return why }
	return a
}

// instead: outside, another try stands for this one.
func (a attempt) instead(do ...string) attempt {
	a.outside = do
	return a
}

// unless: outside, these errnos mean that this machine has no such thing.
func (a attempt) unless(errnos ...string) attempt {
	a.absent = slices.Concat(a.absent, errnos)
	return a
}

func (a attempt) expect(v verdict) attempt {
	a.want = v
	return a
}

// limited: known to work, and why that is accepted.
func (a attempt) limited(why string) attempt {
	a.want, a.why = limit, why
	return a
}

// audited: the refusal must be in the audit log, with a resource that holds this.
func (a attempt) audited(resource string) attempt {
	a.recorded = resource
	return a
}

func (a attempt) String() string { return strings.Join(a.do, " ") }

func (a attempt) control() []string {
	if a.outside != nil {
		return a.outside
	}
	return a.do
}

// each makes one attempt per argument.
func each(args []string, f func(string) attempt) []attempt {
	var all []attempt
	for _, a := range args {
		all = append(all, f(a))
	}
	return all
}
