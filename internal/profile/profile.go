// Package profile says what each run profile shows of the host. A profile is an
// allowlist: what it does not name does not exist inside.
package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// Names of the built-in profiles.
const (
	Generic = "generic"
	Codex   = "codex"
)

// Host is what a profile is resolved against. All paths are absolute.
type Host struct {
	Dir       string   // working directory of the caller
	Home      string   // the caller's home
	Env       []string // the caller's environment; read, never passed on whole
	Command   string   // argv[0] of the agent
	Protected []string // firma's own state and configuration: never shown
}

// View is a profile resolved on this host.
type View struct {
	Name     string
	Spec     sandbox.Spec
	Env      []string // the agent's whole environment, sorted, without run ids
	Dir      string   // working directory inside
	Notes    []string // what the user should know, one line each
	Mappings []string // shipped mappings the profile brings
}

// Agent is the identity of sandbox-user mode.
var Agent = sandbox.Identity{Mode: "sandbox-user", Name: "agent", UID: 1000, GID: 1000, Home: "/home/agent", Hostname: "firma"}

// Resolve builds the named profile's view.
func Resolve(name string, h Host) (*View, error) {
	v := &View{Name: name, Mappings: []string{"anthropic", "openai", "github"}}
	v.Spec.Identity = Agent
	v.system()
	v.identity()
	path := v.toolchains(h)
	switch name {
	case Generic:
		v.currentDirectory(h)
	case Codex:
		if err := v.workspace(h); err != nil {
			return nil, err
		}
	default:
		return nil, fault.New("UnknownProfile", "there is no profile named "+name, "use --profile generic or --profile codex")
	}
	v.Env = environment(v, h, path)
	return v, nil
}

// currentDirectory shows the working directory read-only, where that is not
// more than a project.
func (v *View) currentDirectory(h Host) {
	v.Dir = Agent.Home
	dir, err := filepath.EvalSymlinks(h.Dir)
	if err != nil {
		return
	}
	if v.Spec.Covered(dir) {
		v.Dir = dir
		return
	}
	if why := unfit(dir, h); why != "" {
		v.Notes = append(v.Notes, dir+" is not shown inside: "+why+"; starting in "+Agent.Home)
		return
	}
	v.show(dir, false)
	v.Dir = dir
}

// show mounts dir at its own path and, where that is reached through symbolic
// links, nothing more: inside, the resolved path is the only one.
func (v *View) show(dir string, writable bool) {
	v.Spec.Mounts = append(v.Spec.Mounts, sandbox.Mount{Source: dir, Target: dir, Writable: writable})
}

// secretDirs hold credentials; a directory in or above one is never shown.
var secretDirs = []string{".ssh", ".aws", ".azure", ".kube", ".gnupg", ".config", ".docker", ".password-store",
	".mozilla", ".local/share/keyrings"}

// secretNames are never shown under anybody's home.
var secretNames = []string{".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store"}

// systemDirs are the host's own: shown by system() in part, or not at all.
var systemDirs = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/run", "/var/lib", "/var/log", "/var/spool"}

// unfit says why dir must not be shown, or "".
func unfit(dir string, h Host) string {
	for _, p := range append([]string{"/", "/tmp", "/var", "/var/tmp", "/home", "/root", "/opt", "/srv", "/mnt", "/media"}, h.Home) {
		if dir == p {
			return "it is not a project directory"
		}
	}
	if sandbox.Within(h.Home, dir) {
		return "your home directory lies in it"
	}
	for _, p := range systemDirs {
		if sandbox.Within(dir, p) {
			return "it belongs to the system"
		}
	}
	for _, s := range secretDirs {
		if sandbox.Within(dir, filepath.Join(h.Home, s)) {
			return "~/" + s + " holds credentials"
		}
	}
	for _, part := range strings.Split(dir, "/") {
		if slices.Contains(secretNames, part) {
			return part + " holds credentials"
		}
	}
	for _, p := range h.Protected {
		if sandbox.Within(p, dir) || sandbox.Within(dir, p) {
			return "firma keeps its own state there (" + p + ")"
		}
	}
	return ""
}

func lookupEnv(env []string, key string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}
