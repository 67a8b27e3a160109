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
	Hidden    []Hidden // firma's files that may lie in a project

	homes []string // every home directory that is known, under every name it has
}

// Hidden is a file or directory of firma's own.
type Hidden struct {
	Path    string
	Written bool // during the run
}

// View is a profile resolved on this host.
type View struct {
	Name     string
	Spec     sandbox.Spec
	Env      []string // the agent's whole environment, sorted, without run ids
	Dir      string   // working directory inside
	Notes    []string // what the user should know, one line each
	Mappings []string // shipped mappings the profile brings

	absent []string // of hostRuns in a writable project, when it was resolved
	links  []link   // of hostRuns, reached through symbolic links then
}

// Resolve builds the named built-in profile's view.
func Resolve(name string, h Host) (*View, error) {
	p := Profile{Name: name}
	return p.Resolve(h)
}

// Check refuses what is wrong on every host.
func (p *Profile) Check() error {
	if !slices.Contains([]string{Generic, Codex}, p.base()) {
		return fault.New("UnknownProfile", "there is no profile named "+p.base(), "use --profile generic or --profile codex, or define it: [run.profiles."+p.base()+"]")
	}
	if !slices.Contains([]string{"", SandboxUser, HostUser}, p.IdentityMode) {
		return fault.New(fault.ArgumentInvalid, "there is no identity mode "+p.IdentityMode, "use sandbox-user or host-user")
	}
	return p.variables(map[string]string{}, Host{})
}

// Resolve builds the profile's view of the host.
func (p *Profile) Resolve(h Host) (*View, error) {
	v := &View{Name: p.Name, Mappings: []string{"anthropic", "openai", "github"}}
	err := p.Check()
	if err != nil {
		return nil, err
	}
	if v.Spec.Identity, err = identityOf(p.IdentityMode, h); err != nil {
		return nil, err
	}
	h = h.settle()
	v.system()
	v.identity()
	v.agents()
	// The project first: what PATH names in it is shown as the project is.
	if err := v.project(p, h); err != nil {
		return nil, err
	}
	path := v.toolchains(h)
	if err := v.hide(h); err != nil {
		return nil, err
	}
	javaProxy(&v.Spec)
	phpExtensions(&v.Spec, phpSettings)
	if v.Env, err = environment(v, p, h, path); err != nil {
		return nil, err
	}
	v.keyNote(h)
	return v, nil
}

func (v *View) project(p *Profile, h Host) error {
	switch {
	case p.Mounts != nil:
		return v.mounts(p.Mounts, h)
	case p.base() == Codex:
		return v.workspace(h)
	}
	v.currentDirectory(h)
	return nil
}

// currentDirectory shows the working directory read-only, where that is not
// more than a project.
func (v *View) currentDirectory(h Host) {
	v.Dir = v.Spec.Identity.Home
	dir, err := filepath.EvalSymlinks(h.Dir)
	if err != nil {
		return
	}
	if v.Spec.Covered(dir) {
		v.Dir = dir
		return
	}
	if why := unfit(dir, h); why != "" {
		v.Notes = append(v.Notes, dir+" is not shown inside: "+why+"; starting in "+v.Dir)
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
var systemDirs = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/backups", "/var/cache",
	"/var/crash", "/var/db", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool"}

// unfit says why dir must not be shown, or "".
func unfit(dir string, h Host) string {
	if slices.Contains([]string{"/", "/tmp", "/var", "/var/tmp", "/home", "/root", "/opt", "/srv", "/mnt", "/media"}, dir) {
		return "it is not a project directory"
	}
	for _, p := range systemDirs {
		if sandbox.Within(dir, p) {
			return "it belongs to the system"
		}
	}
	if why := someonesHome(dir, h); why != "" {
		return why
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
