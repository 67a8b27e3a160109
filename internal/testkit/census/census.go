// Package census counts what a run could leave behind: its processes, the sockets
// they hold, mounts and control groups. A test takes one before a run, one during
// it as the positive control, and one after it.
package census

import (
	"slices"
	"sort"
)

// Scope says which of the machine's things belong to the runs under test, since
// other programs come and go meanwhile. A process belongs to it when its program
// is one of Programs (by device and inode, so that it is recognised inside other
// mount namespaces too) or its command line holds Marker.
type Scope struct {
	Programs []string // paths of programs only the runs under test use
	Marker   string   // a path or word only they use; "" = none
}

// Census is what was found: one line each, sorted.
type Census struct {
	Processes []Process
	Sockets   []string // held by those processes, and unix socket paths with the marker
	Mounts    []string // of this namespace, with the marker
	Groups    []string // control groups with the marker or "firma" in their name
}

// Process is one that belongs to the scope.
type Process struct {
	PID    int
	Parent int
	Start  string // clock ticks since boot: with PID, the process's identity
	State  string // one letter of proc(5); "Z" has ended and waits to be collected
	Args   []string
}

// Empty reports whether nothing was found.
func (c Census) Empty() bool {
	return len(c.Processes)+len(c.Sockets)+len(c.Mounts)+len(c.Groups) == 0
}

// Since returns what is in c and was not in before.
func (c Census) Since(before Census) Census {
	return Census{
		Processes: slices.DeleteFunc(slices.Clone(c.Processes), func(p Process) bool {
			return slices.ContainsFunc(before.Processes, func(o Process) bool { return o.PID == p.PID && o.Start == p.Start })
		}),
		Sockets: without(c.Sockets, before.Sockets),
		Mounts:  without(c.Mounts, before.Mounts),
		Groups:  without(c.Groups, before.Groups),
	}
}

func without(all, gone []string) []string {
	out := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(gone, s) })
	sort.Strings(out)
	return out
}
