//go:build unix

package stack

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firma/internal/marker"
)

// RunListen is where the Sidecar of a run listens: inside the sandbox, so that
// nobody outside can connect to it.
const RunListen = "sandbox:18080"

// probeTime bounds how long a service may take to accept a connection.
const probeTime = 500 * time.Millisecond

// RunStatus is one run's Sidecar, with the contract's keys.
type RunStatus struct {
	SandboxID           string       `json:"sandbox_id"`
	AgentID             string       `json:"agent_id"`
	SessionID           string       `json:"session_id"`
	AuthorityURL        string       `json:"authority_url"`
	PolicyBundleVersion string       `json:"policy_bundle_version"`
	PID                 *int         `json:"pid"` // nil once it is gone
	StartedAt           string       `json:"started_at"`
	State               marker.State `json:"state"`
	Listen              string       `json:"listen"`
	UptimeSecs          int64        `json:"uptime_secs"`
}

// Runs are the Sidecars of runs, all or the one of a sandbox. The marker of one
// that is gone is removed, so that it shows once.
func Runs(stateDir, sandboxID string, now time.Time) ([]RunStatus, error) {
	runs, err := marker.List(stateDir)
	if err != nil {
		return nil, err
	}
	out := []RunStatus{}
	for _, r := range runs {
		if sandboxID != "" && r.SandboxID != sandboxID {
			continue
		}
		s := RunStatus{SandboxID: r.SandboxID, AgentID: r.AgentID, SessionID: r.SessionID, AuthorityURL: r.AuthorityURL,
			PolicyBundleVersion: r.PolicyBundleVersion, StartedAt: r.StartedAt, State: marker.StateOf(r.PID, r.Born)}
		if s.State == marker.Stopped {
			marker.Remove(stateDir, r.SandboxID)
		} else {
			pid := r.PID
			s.PID, s.Listen, s.UptimeSecs = &pid, RunListen, max(int64(now.Sub(r.Started())/time.Second), 0)
		}
		out = append(out, s)
	}
	return out, nil
}

// ServiceStatus is one process of the stack.
type ServiceStatus struct {
	Component  string       `json:"component"`
	PID        *int         `json:"pid"`
	State      marker.State `json:"state"`
	Listen     string       `json:"listen"`
	UptimeSecs int64        `json:"uptime_secs"`
}

// Services are the processes of the stack. The Sidecar is always among them, the
// others while there is a trace of them.
func Services(stateDir string, now time.Time) []ServiceStatus {
	out := []ServiceStatus{}
	for _, c := range []struct{ name, file string }{{"supervisor", pidFile}, {authorityRole, authorityRole + ".pid"}, {sidecarRole, sidecarRole + ".pid"}} {
		path := filepath.Join(stateDir, c.file)
		pid, born, err := marker.ReadPID(path)
		s := ServiceStatus{Component: c.name, State: marker.Stopped}
		switch {
		case err == nil:
			s.State = marker.StateOf(pid, born)
		case !errors.Is(err, fs.ErrNotExist):
			s.State = marker.Unknown
		case c.name != sidecarRole:
			continue
		}
		if s.State == marker.Running || s.State == marker.Unhealthy {
			s.PID, s.UptimeSecs = &pid, age(path, now)
			s.Listen = read(filepath.Join(stateDir, c.name+".listen"))
			if s.State == marker.Running && c.name != "supervisor" && !accepts(s.Listen) {
				s.State = marker.Unhealthy
			}
		}
		out = append(out, s)
	}
	return out
}

// age is how long ago a service was found to serve.
func age(path string, now time.Time) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return max(int64(now.Sub(info.ModTime())/time.Second), 0)
}

func read(path string) string {
	data, _ := os.ReadFile(path)
	return strings.TrimSpace(string(data))
}

// accepts reports whether somebody accepts connections at listen. A wildcard
// address is tried on loopback.
func accepts(listen string) bool {
	network := "tcp"
	if filepath.IsAbs(listen) {
		network = "unix"
	} else if host, port, err := net.SplitHostPort(listen); err == nil && net.ParseIP(host).IsUnspecified() {
		listen = net.JoinHostPort("localhost", port)
	}
	conn, err := net.DialTimeout(network, listen, probeTime)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
