package census

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Family is a process and all its descendants at one moment, each held by a
// pidfd, so that its end can be waited for and no other process be taken for it.
type Family struct {
	Members []Process
	fds     []int
}

// Hold finds the family of pid. Close it.
func Hold(pid int) (*Family, error) {
	all, err := processTable()
	if err != nil {
		return nil, err
	}
	f := &Family{}
	for _, p := range descend(all, pid) {
		fd, err := unix.PidfdOpen(p.PID, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("census: pidfd of %d: %w", p.PID, err), f.Close())
		}
		f.Members, f.fds = append(f.Members, p), append(f.fds, fd)
	}
	return f, nil
}

func descend(all map[int]Process, pid int) []Process {
	p, ok := all[pid]
	if !ok {
		return nil
	}
	found := []Process{p}
	for id, c := range all {
		if c.Parent == pid {
			found = append(found, descend(all, id)...)
		}
	}
	return found
}

// processTable is every process of the machine by pid.
func processTable() (map[int]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]Process{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := read(pid); ok {
				all[pid] = p
			}
		}
	}
	return all, nil
}

// Find returns the members whose arguments hold word as one of them, or whose
// program's name is word.
func (f *Family) Find(word string) []Process {
	var found []Process
	for _, p := range f.Members {
		for i, a := range p.Args {
			if a == word || i == 0 && strings.HasSuffix(a, "/"+word) {
				found = append(found, p)
				break
			}
		}
	}
	return found
}

// Survivors waits until every member has ended, or for as long as ctx allows, and
// returns those that have not.
func (f *Family) Survivors(ctx context.Context) ([]Process, error) {
	var left []Process
	for i, fd := range f.fds {
		ended, err := f.ended(ctx, fd)
		if err != nil {
			return nil, err
		}
		if !ended {
			left = append(left, f.Members[i])
		}
	}
	return left, nil
}

// ended waits for one pidfd: it becomes readable when its process has ended.
func (f *Family) ended(ctx context.Context, fd int) (bool, error) {
	for {
		wait := time.Until(deadline(ctx))
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, int(max(wait, 0)/time.Millisecond))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return n > 0, err
	}
}

func deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(time.Minute)
}

// Close lets go of the processes.
func (f *Family) Close() error {
	var err error
	for _, fd := range f.fds {
		err = errors.Join(err, unix.Close(fd))
	}
	f.fds = nil
	return err
}

// String names processes by pid and arguments.
func (p Process) String() string { return fmt.Sprintf("%d %s %q", p.PID, p.State, p.Args) }
