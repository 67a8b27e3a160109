package mapping

import (
	"slices"

	"firma/internal/action"
	"firma/internal/intent"
)

// Carries returns the classes that calls to c's destination (host and port) can
// be, by any rule, whatever c's method and path are; nil when no rule covers it.
// It is asked about a stream that will be looked into, whose calls are classified
// one by one.
func (t *Table) Carries(c *intent.Call) []action.Class {
	if c.Host == "" {
		return nil
	}
	var out []action.Class
	shared := false // the slice of a bucket is not ours to change
	t.match(c.HostKey(), c.Host, func(b *bucket) {
		if out == nil {
			out, shared = b.carry, true
			return
		}
		if shared {
			out, shared = slices.Clone(out), false
		}
		for _, class := range b.carry {
			if !slices.Contains(out, class) {
				out = append(out, class)
			}
		}
	})
	return out
}
