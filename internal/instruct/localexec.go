package instruct

import (
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
)

// The sockets of a command gate whose places are not configured, in a directory
// that only its Sidecar has.
const (
	AskSocket     = "local-exec.sock"
	ApproveSocket = "approvals.sock"
)

// RunDir is the directory for the sockets of the run or Sidecar called id. "*" for
// id is a pattern for all.
func RunDir(stateDir, id string) string { return filepath.Join(stateDir, "run", id) }

// LocalExec is the command gate that the Sidecar of the run called id serves, nil
// when none is configured.
func LocalExec(c *config.Config, stateDir, id string) *control.LocalExec {
	out := localExec(c)
	if out != nil && out.Socket == "" {
		dir := RunDir(stateDir, id)
		out.Socket, out.Management = filepath.Join(dir, AskSocket), filepath.Join(dir, ApproveSocket)
	}
	return out
}

// LocalExecAlone is the command gate of a Sidecar that serves at the given place
// for many runs, nil when none is configured. Sockets that are not configured lie
// beside its own, where launchers look for them.
func LocalExecAlone(c *config.Config, at control.Endpoint) (*control.LocalExec, error) {
	out := localExec(c)
	if out == nil || out.Socket != "" {
		return out, nil
	}
	gate, ok := config.EndpointOf(at.Network + ":" + at.Address)
	if !ok {
		return nil, fault.New("ConfigValidation", "[sidecar.local_exec] names no socket_path, and a Sidecar on TCP has no socket to put one beside",
			"name one, as in socket_path = \"/run/user/1000/firma/tools.sock\"")
	}
	out.Socket, out.Management = (&config.LocalExec{SocketPath: strings.TrimPrefix(gate, "unix:")}).Sockets()
	return out, nil
}

func localExec(c *config.Config) *control.LocalExec {
	l := c.Sidecar.LocalExec
	if l == nil {
		return nil
	}
	out := &control.LocalExec{DefaultAction: l.DefaultAction, TokenTTL: l.TokenTTL.Or(0), RetryAfter: l.RetryAfter.Or(0)}
	out.Socket, out.Management = l.Sockets()
	return out
}

// ApproveSockets are where people may approve: the configured place, and those of
// the runs under way, newest first.
func ApproveSockets(c *config.Config, stateDir string) []string {
	var found []string
	if alone, err := LocalExecAlone(c, control.Endpoint{Network: "unix", Address: c.Sidecar.Interceptor.SocketPath}); err == nil && alone != nil {
		found = append(found, alone.Management)
	}
	runs, _ := filepath.Glob(filepath.Join(RunDir(stateDir, "*"), ApproveSocket)) // a bad pattern finds none
	slices.Reverse(runs)                                                          // identifiers sort by time
	return append(found, runs...)
}
