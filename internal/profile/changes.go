package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// Profile is a built-in profile and what a configuration changes about it. The
// zero value changes nothing.
type Profile struct {
	Name string // as chosen
	Base string // the built-in one; "": Name

	IdentityMode   string            // SandboxUser or HostUser; "": SandboxUser
	EnvSet         map[string]string // variables with their values
	EnvPass        []string          // variables of the caller to pass on
	EnvAllowSecret []string          // of these two, names that look like secrets
	Mounts         []sandbox.Mount   // in place of the project directory; nil: unchanged
}

func (p *Profile) base() string {
	if p.Base != "" {
		return p.Base
	}
	return p.Name
}

func invalid(text, fix string) error { return fault.New("ConfigValidation", text, fix) }

// mounts shows what the configuration names in place of the project directory.
func (v *View) mounts(ms []sandbox.Mount, h Host) error {
	for _, m := range ms {
		if err := v.mount(m, h); err != nil {
			return err
		}
	}
	v.Dir = v.Spec.Identity.Home
	if dir, err := filepath.EvalSymlinks(h.Dir); err == nil && v.Spec.Covered(dir) {
		v.Dir = dir
	}
	return nil
}

func (v *View) mount(m sandbox.Mount, h Host) error {
	if m.Target == "" {
		m.Target = m.Source
	}
	for _, p := range []string{m.Source, m.Target} {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return invalid("mount "+m.Source+": "+p+" is not an absolute path in its shortest form", "write it whole, without .. and without / at its end")
		}
	}
	real, err := filepath.EvalSymlinks(m.Source)
	if err != nil {
		return fault.Wrap(err, "ConfigValidation", "mount "+m.Source+": it is not there", "correct source, or create it")
	}
	if st, err := os.Stat(real); err != nil || !st.IsDir() && !st.Mode().IsRegular() {
		return invalid("mount "+m.Source+": it is neither a directory nor a file", "sockets and devices can't be shown")
	}
	for _, p := range h.Protected {
		if sandbox.Within(p, real) || sandbox.Within(real, p) {
			return invalid("mount "+m.Source+": firma keeps its own state there ("+p+")", "show something narrower")
		}
	}
	if why := v.targetTaken(m.Target); why != "" {
		return invalid("mount target "+m.Target+": "+why, "choose another target")
	}
	v.Spec.Mounts = append(v.Spec.Mounts, sandbox.Mount{Source: real, Target: m.Target, Writable: m.Writable})
	if m.Writable && isRealDir(real) {
		v.guard(real, m.Target, h.Home)
	}
	return nil
}

// targetTaken says why nothing may be mounted at target, or "". What the sandbox
// is made of stays as it is; and where a parent is the host's own directory, the
// place must exist there, since making it would change the host.
func (v *View) targetTaken(target string) string {
	for _, p := range []string{"/proc", "/dev", "/sys", "/run"} {
		if sandbox.Within(target, p) || sandbox.Within(p, target) {
			return "the sandbox has its own " + p
		}
	}
	for _, l := range v.Spec.Symlinks {
		if sandbox.Within(target, l.Path) {
			return l.Path + " is a link inside"
		}
	}
	for _, op := range v.Spec.Ops() {
		if sandbox.Within(op.Target(), target) {
			return "it would cover " + op.Target()
		}
	}
	for _, m := range v.Spec.Mounts {
		rel, inside := strings.CutPrefix(target, m.Target+"/")
		if !inside {
			continue
		}
		if _, err := os.Lstat(filepath.Join(m.Source, rel)); err != nil {
			return "it lies in " + m.Target + ", where the host has no such path"
		}
	}
	return ""
}

// secretWords are parts of names, between underscores, that say the value is one.
var secretWords = []string{"KEY", "KEYS", "PASS", "PASSPHRASE", "PWD", "AUTH", "PAT", "JWT", "DSN", "COOKIE", "COOKIES", "BEARER", "SESSION"}

// secretParts say so wherever they stand.
var secretParts = []string{"TOKEN", "SECRET", "PASSW", "CREDENTIAL", "APIKEY", "PRIVATEKEY", "ACCESSKEY", "AUTHORIZATION"}

// LooksSecret reports whether a variable of this name likely holds a credential.
func LooksSecret(name string) bool {
	name = strings.ToUpper(name)
	if name == "PWD" || name == "OLDPWD" { // directories, not passwords
		return false
	}
	for _, part := range secretParts {
		if strings.Contains(name, part) {
			return true
		}
	}
	for word := range strings.SplitSeq(name, "_") {
		if slices.Contains(secretWords, word) {
			return true
		}
	}
	return false
}

// own reports whether firma sets a variable itself, and nobody else.
func own(name string) bool {
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "FIRMA_") || strings.HasSuffix(upper, "_PROXY") ||
		slices.Contains([]string{"HOME", "USER", "LOGNAME", "PWD"}, name)
}

// variables adds what the configuration sets and passes to env.
func (p *Profile) variables(env map[string]string, h Host) error {
	for _, name := range p.EnvPass {
		if name == "PATH" {
			return invalid("env_passthrough: PATH can't be passed: the sandbox's own names what exists inside", "leave it out")
		}
		if err := p.checkName("env_passthrough", name); err != nil {
			return err
		}
		if val := lookupEnv(h.Env, name); val != "" {
			env[name] = val
		}
	}
	for name, val := range p.EnvSet {
		if err := p.checkName("env_set", name); err != nil {
			return err
		}
		if strings.ContainsRune(val, 0) {
			return invalid("env_set: the value of "+name+" holds a NUL byte", "remove it")
		}
		env[name] = val
	}
	return nil
}

func (p *Profile) checkName(key, name string) error {
	switch {
	case !validName(name):
		return invalid(fmt.Sprintf("%s: %q is not the name of a variable", key, name), "use letters, digits and _, not starting with a digit")
	case own(name):
		return invalid(key+": "+name+" is set by firma", "leave it out")
	case LooksSecret(name) && !slices.Contains(p.EnvAllowSecret, name):
		return invalid(key+": "+name+" looks like a secret, which the agent could then send anywhere policy lets it",
			"leave it out; or, to give the agent this secret, add env_allow_secret = [\""+name+"\"] to the profile")
	}
	return nil
}

func validName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 256
}
