package profile

import (
	"os/user"
	"path/filepath"
	"strconv"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// The identity modes.
const (
	SandboxUser = "sandbox-user" // uid and gid 1000, named agent
	HostUser    = "host-user"    // the caller's uid, gid, name and home path
)

// Agent is the identity of sandbox-user mode.
var Agent = sandbox.Identity{Mode: SandboxUser, Name: "agent", UID: 1000, GID: 1000, Home: "/home/agent", Hostname: "firma"}

// identityOf is who the agent is inside. In both modes the home is empty and
// private: host-user shares names and numbers with the caller, not files.
func identityOf(mode string, h Host) (sandbox.Identity, error) {
	if mode == HostUser {
		return hostUser(h)
	}
	return Agent, nil
}

const identityFix = "use --identity-mode sandbox-user"

func hostUser(h Host) (sandbox.Identity, error) {
	u, err := user.Current()
	if err != nil {
		return sandbox.Identity{}, fault.Wrap(err, "IdentityUnavailable", "the caller's account can't be found out", identityFix)
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if uerr != nil || gerr != nil {
		return sandbox.Identity{}, fault.New("IdentityUnavailable", "the caller's account has no numbers", identityFix)
	}
	id := sandbox.Identity{Mode: HostUser, Name: u.Username, UID: uid, GID: gid, Home: h.Home, Hostname: Agent.Hostname}
	if !accountName(id.Name) {
		id.Name = Agent.Name
	}
	if !filepath.IsAbs(id.Home) || filepath.Clean(id.Home) != id.Home || homeTaken(id.Home) {
		return sandbox.Identity{}, fault.New("IdentityUnavailable", "the caller's home "+id.Home+" can't be a private directory of the sandbox", identityFix)
	}
	return id, nil
}

// homeTaken reports whether a home would cover what the sandbox is made of, or lie
// in it.
func homeTaken(home string) bool {
	for _, p := range []string{"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/dev", "/sys", "/run", "/var/run"} {
		if sandbox.Within(p, home) || sandbox.Within(home, p) {
			return true
		}
	}
	return sandbox.Within("/tmp", home) || sandbox.Within("/var/tmp", home)
}

// accountName reports whether a name can stand in passwd(5).
func accountName(s string) bool {
	for i, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.')
		if !ok {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
