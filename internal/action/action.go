// Package action is the registry of action classes: what an outbound call does,
// in words that name no transport, provider or tool. The set is fixed when the
// program is built; nothing adds to it while requests are served. It depends on
// the standard library only and all of it is safe for concurrent use.
package action

import (
	"cmp"
	"slices"
	"strings"
)

// Class is the name of an action class, "<domain>.<sub>.<verb>" in lower-case
// ASCII. The zero value is not a class.
type Class string

// Risk orders classes by the harm a call of that class can do. It never decides
// alone; it chooses the more powerful of two classes. The zero value is no risk
// of the registry and sorts below all of them.
type Risk uint8

// The risks, in rising order.
const (
	Low Risk = iota + 1
	Medium
	High
	Critical
)

// String returns the word for the risk: low, medium, high or critical.
func (r Risk) String() string {
	switch r {
	case Low:
		return "low"
	case Medium:
		return "medium"
	case High:
		return "high"
	}
	return "critical"
}

// Known reports whether c is in the registry.
func Known(c Class) bool {
	_, ok := find(c)
	return ok
}

// RiskOf returns the risk of c, and Critical for a class that is not known.
func RiskOf(c Class) Risk {
	if i, ok := find(c); ok {
		return registry[i].risk
	}
	return Critical
}

// All returns every class, sorted. The caller owns the slice.
func All() []Class {
	all := make([]Class, len(registry))
	for i := range registry {
		all[i] = registry[i].class
	}
	return all
}

// Power is a rank for choosing the worse of two classes: greater for a greater
// risk, and at equal risk greater for a class that every shipped posture forbids.
func Power(c Class) int {
	p := 2 * int(RiskOf(c))
	if i, ok := find(c); !ok || registry[i].grave {
		p++
	}
	return p
}

// Compare orders two classes by Power and then by name, so that the order is
// total. It returns a negative number when a is the less powerful.
func Compare(a, b Class) int {
	return cmp.Or(cmp.Compare(Power(a), Power(b)), strings.Compare(string(a), string(b)))
}

// Reserved reports whether c is a name that the contract sets aside and that
// must not be used, although it is well formed.
func Reserved(c Class) bool {
	return c == "memory.read" || c == "memory.write" || c == "browser.navigate"
}

// WellFormed reports whether c follows the naming rule: two to four labels of
// lower-case letters and underscores, joined by dots.
func WellFormed(c Class) bool {
	labels := strings.Split(string(c), ".")
	if len(labels) < 2 || len(labels) > 4 {
		return false
	}
	for _, l := range labels {
		if l == "" || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return false
		}
		if l[0] == '_' || l[len(l)-1] == '_' {
			return false
		}
	}
	return true
}

func find(c Class) (int, bool) {
	return slices.BinarySearchFunc(registry[:], c, func(e entry, c Class) int {
		return strings.Compare(string(e.class), string(c))
	})
}
