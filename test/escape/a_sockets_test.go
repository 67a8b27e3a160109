package escape

import (
	"testing"

	"golang.org/x/sys/unix"

	"firma/internal/testkit/census"
)

// A: sockets and processes of the host.
var socketCases = []kase{
	{
		id: "A1", about: "the Docker socket, by every path it has",
		tries: func(y *yard) []attempt {
			return each(append(y.sockets, y.home(".docker/run/docker.sock")), func(path string) attempt {
				a := try("unix", path, "docker")
				if path == y.home(".docker/run/docker.sock") {
					return a.instead("unix", y.sockets[0], "docker")
				}
				return a
			})
		},
	},
	{
		id: "A3", about: "the session bus, by path and by the variable that names it",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("unix", y.Runtime+"/bus", "hello bus"),
				try("list", y.Runtime),
				try("list", "/run/dbus").unless("ENOENT"),
				try("list", "/run/systemd").unless("ENOENT"),
			}
		},
	},
	{
		id: "A5", about: "the keyring daemon's socket and the kernel's keyrings",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("unix", y.Runtime+"/keyring", "unlock"),
				try("keyctl"), try("add-key"), try("request-key"),
				try("read", y.home(".local/share/keyrings/login.keyring")),
			}
		},
	},
	{
		id: "A7", about: "sockets at a path, in a read-only directory too, and abstract ones",
		tries: func(y *yard) []attempt {
			all := each(y.sockets, func(path string) attempt { return try("unix", path, "token") })
			return append(all,
				try("unix", y.inside, "token"),
				try("unix-dgram", y.dgram, "token"),
				try("unix-pair", y.dgram, "token"),
				try("unix", y.abstract, "token"),
				// A seqpacket bait does not exist: what is tried is making the socket.
				try("unix-seq", y.inside, "token").unless("EPROTOTYPE"),
			)
		},
	},
	{
		id: "A9", about: "the ssh agent's socket",
		tries: func(y *yard) []attempt {
			return []attempt{try("unix", y.Runtime+"/ssh-agent", "list keys")}
		},
	},
	{
		id: "A13", about: "signals, traces and memory of processes outside, and of pid 1 inside",
		tries: func(y *yard) []attempt {
			none := "outside, pid 1 is the machine's"
			all := []attempt{
				try("kill", y.sleeper, "0"), try("kill", y.sleeper, "18"),
				try("perf-pid", y.sleeper).unless("EACCES"), try("prlimit", y.sleeper), try("kcmp", y.sleeper),
			}
			for _, t := range []string{"ptrace", "vm-read", "vm-write", "mem-open", "pidfd-getfd"} {
				all = append(all, try(t, y.sleeper).unless("EPERM"), try(t, "1").instead(t, y.sleeper).unless("EPERM"))
			}
			return append(all,
				try("kcmp", "1").instead("kcmp", y.sleeper),
				try("kill", "1", "9").expect(contained).noControl(none),
				try("kill", "1", "19").expect(contained).noControl(none),
				try("exe-write", "1").instead("exe-write", y.sleeper).unless("EACCES"),
			)
		},
		check: func(t *testing.T, y *yard, _ *ran) { y.sleeperAlive(t) },
	},
	{
		id: "A13-all", about: "kill every process there is: only the sandbox's own may end",
		tries: func(*yard) []attempt { return nil },
		check: func(t *testing.T, y *yard, _ *ran) {
			if *wall == "none" {
				t.Fatal("ESCAPED     without a wall this would end the machine; not tried")
			}
			r := y.firma(t, kase{}, y.probe, "kill-all", "inside")
			t.Logf("exit status %d: %s", r.Code, r.Stdout)
			y.sleeperAlive(t)
		},
	},
	{
		id: "A13-orphan", about: "a process that outlives the run",
		tries: func(*yard) []attempt { return []attempt{try("orphan").expect(contained)} },
		prepare: func(t *testing.T, y *yard) {
			// What the control outside left.
			for _, p := range y.probes(t) {
				must(t, unix.Kill(p.PID, unix.SIGKILL))
			}
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			for _, p := range y.probes(t) {
				t.Errorf("ESCAPED     still running after the run: %v", p)
				_ = unix.Kill(p.PID, unix.SIGKILL)
			}
		},
	},
}

// probes are the processes of this yard's probe, seen from the host.
func (y *yard) probes(t *testing.T) []census.Process {
	t.Helper()
	c, err := census.Take(census.Scope{Programs: []string{y.probe}})
	must(t, err)
	return c.Processes
}
