package stub

import (
	"encoding/json"
	"errors"

	"golang.org/x/sys/unix"

	"firma/internal/control"
)

// The statuses of a shell for a command that never ran (POSIX sh, 2.8.2).
const (
	statusRefused       = 125 // firma's own: the command gate did not allow it
	statusNotExecutable = 126
	statusNotFound      = 127
)

// Error is a command that could not be executed.
type Error struct {
	Status int // 125 not the file allowed, 126 found but not executable, 127 not found
	Text   string
}

func (e *Error) Error() string { return e.Text }

func notFound(name string) error {
	return &Error{Status: statusNotFound, Text: name + ": not found inside the sandbox"}
}

func execError(path string, err error) error {
	if err == unix.ENOENT || err == unix.ENOTDIR {
		// The file was there: what is missing is its interpreter.
		return &Error{Status: statusNotFound, Text: path + ": its interpreter is not found inside the sandbox"}
	}
	return &Error{Status: statusNotExecutable, Text: path + ": " + err.Error()}
}

// report sends the reason to the launcher; a launcher that is gone needs none.
func report(ctl int, err error) {
	f := &control.Failure{Name: "SandboxSetupFailed", Text: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		f.Name, f.Fix = "CommandNotExecutable", "make it executable, or name the program that runs it"
		switch e.Status {
		case statusNotFound:
			f.Name, f.Fix = "CommandNotFound", "install it where the profile shows it, or choose another with --profile; `firma run --print-effective-config` lists what is shown"
		case statusRefused:
			f.Name, f.Fix = "Governance", "run it again"
		}
	}
	if b, err := json.Marshal(control.Message{Kind: control.KindFailed, Failure: f}); err == nil {
		_ = unix.Sendmsg(ctl, b, nil, nil, unix.MSG_NOSIGNAL)
	}
}
