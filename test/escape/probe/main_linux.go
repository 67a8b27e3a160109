// The runtime keeps control-group files open to size itself; the inventory of
// descriptors must show only what was inherited.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command probe is the inside part of the escape suite: one sub-command per
// technique, each of which tries to reach past the sandbox and says in one JSON
// line how that went. It is static, needs nothing but itself, and never judges:
// the same technique is first run outside, where it must succeed.
//
//	probe TECHNIQUE [ARG…]     one try
//	probe batch '[["T","a"],…]' several, each in a process of its own
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// The three results. "refused" is the kernel's or the proxy's no; "error" means
// that the technique could not be tried, which proves nothing.
const (
	succeeded = "succeeded"
	refused   = "refused"
	failed    = "error"
)

// Result is the line a try prints.
type Result struct {
	Technique string   `json:"technique"`
	Args      []string `json:"args,omitempty"`
	Result    string   `json:"result"`
	Errno     string   `json:"errno,omitempty"`
	Detail    string   `json:"detail,omitempty"`
}

// technique tries once. A nil error is a success; a system call's error or a
// *no is a refusal; anything else is an error of the technique itself.
type technique func(args []string) (detail string, err error)

// no is a refusal that is not a system call's.
type no struct{ why string }

func (n *no) Error() string { return n.why }

var errUsage = errors.New("wrong number of arguments")

// techniques is filled by the files of this package, one group each.
func techniques() map[string]technique {
	all := map[string]technique{"owned": inOwnNetwork} // which looks others up here
	for _, group := range []map[string]technique{
		networkTechniques, captureTechniques, proxyTechniques, unixTechniques, kernelTechniques, namespaceTechniques, processTechniques,
		procTechniques, fileTechniques, terminalTechniques, privilegeTechniques,
	} {
		for name, t := range group {
			all[name] = t
		}
	}
	return all
}

func main() {
	inherited := openDescriptors() // before anything else can open one
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: probe TECHNIQUE [ARG…] | probe batch JSON | probe posture | probe techniques")
		os.Exit(2)
	}
	name, args := os.Args[1], os.Args[2:]
	switch name {
	case "batch":
		os.Exit(batch(args))
	case "posture":
		emit(posture(inherited))
	case "techniques":
		for name := range techniques() {
			fmt.Println(name)
		}
	case "fds":
		emit(judge(name, args, func([]string) (string, error) { return foundDescriptors(inherited) }))
	default:
		emit(try(name, args))
	}
}

func try(name string, args []string) Result {
	t, ok := techniques()[name]
	if !ok {
		return Result{Technique: name, Result: failed, Detail: "no such technique"}
	}
	return judge(name, args, t)
}

func judge(name string, args []string, t technique) Result {
	r := Result{Technique: name, Args: args, Result: succeeded}
	detail, err := t(args)
	r.Detail = detail
	if err == nil {
		return r
	}
	r.Result = failed
	var errno syscall.Errno
	var n *no
	switch {
	case errors.As(err, &errno):
		r.Result, r.Errno = refused, unix.ErrnoName(errno)
	case errors.As(err, &n):
		r.Result = refused
	}
	if r.Detail != "" {
		r.Detail += ": "
	}
	r.Detail += err.Error()
	return r
}

func emit(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(2)
	}
	_, _ = os.Stdout.Write(append(line, '\n'))
}

// reached turns the result of a call made with arguments that no kernel accepts
// into an answer to "was I allowed to ask": only these three say no.
func reached(err error) error {
	for _, e := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS} {
		if errors.Is(err, e) {
			return err
		}
	}
	return nil
}

func call(nr uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, e := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if e != 0 {
		return r, e
	}
	return r, nil
}
