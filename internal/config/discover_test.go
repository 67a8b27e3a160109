package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"firma/internal/fault"
)

// machine is a machine with a home, a project and a state directory.
type machine struct {
	t    *testing.T
	w    Where
	env  map[string]string
	proj string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, env: map[string]string{}, proj: filepath.Join(base, "home", "proj")}
	m.w = Where{Dir: filepath.Join(m.proj, "deep", "er"), Home: filepath.Join(base, "home"), State: filepath.Join(base, "state"),
		Getenv: func(k string) string { return m.env[k] }}
	if err := os.MkdirAll(m.w.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// write makes a file of a configuration that can be told from others.
func (m *machine) write(path, text string) string {
	m.t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(m.w.Home, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func named(name string) string { return "[project]\nname = \"" + name + "\"\n" }

func (m *machine) expect(source, name string) {
	m.t.Helper()
	c, err := Discover(m.w)
	if err != nil {
		m.t.Fatal(err)
	}
	if c.Source != source || c.Project.Name != name {
		m.t.Errorf("found %q from %q, want %q from %q", c.Project.Name, c.Source, name, source)
	}
}

func (m *machine) refused(fault_ string, parts ...string) {
	m.t.Helper()
	_, err := Discover(m.w)
	if fault.NameOf(err) != fault_ {
		m.t.Fatalf("%v, want %s", err, fault_)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			m.t.Errorf("%v\nlacks %q", err, p)
		}
	}
}

// The order of the guide, from the last place to the first.
func TestDiscoveryOrder(t *testing.T) {
	m := newMachine(t)
	m.expect("", "")
	m.write(".config/firma/firma.toml", named("user"))
	m.expect(SourceUser, "user")
	m.env["XDG_CONFIG_HOME"] = filepath.Join(m.w.Home, "xdg")
	m.expect(SourceUser, "user")
	m.write("xdg/firma/firma.toml", named("xdg"))
	m.expect(SourceUser, "xdg")
	p := m.write("proj/.firma/firma.toml", named("project"))
	m.trust(p)
	m.expect(SourceProject, "project")
	m.env["FIRMA_CONFIG"] = m.write("env.toml", named("env"))
	m.expect(SourceEnv, "env")
	m.w.Explicit = m.write("flag.toml", named("flag"))
	m.expect(SourceFlag, "flag")
}

func (m *machine) trust(path string) {
	m.t.Helper()
	if _, _, err := Trust(m.w, path); err != nil {
		m.t.Fatal(err)
	}
}

// A file that is selected and can't be used never falls through to the next.
func TestNoFallThrough(t *testing.T) {
	m := newMachine(t)
	m.write(".config/firma/firma.toml", named("user"))
	m.env["FIRMA_CONFIG"] = filepath.Join(m.w.Home, "absent.toml")
	m.refused("ConfigParse", "absent.toml")
	m.env["FIRMA_CONFIG"] = m.write("bad.toml", "[")
	m.refused("ConfigParse", "bad.toml:1:")
	m.env["FIRMA_CONFIG"] = m.write("profiles.toml", "[profiles.x]\n")
	m.refused("ConfigValidation", "only profiles and defaults")
	delete(m.env, "FIRMA_CONFIG")
	m.write(".config/firma/firma.toml", "nope = 1\n")
	m.refused("ConfigValidation", "unknown key nope")
	big := m.write("big.toml", strings.Repeat("#", maxFile+1))
	m.w.Explicit = big
	m.refused("ConfigParse", "more than 1 MiB")
}

func TestAProjectFileNeedsTrust(t *testing.T) {
	m := newMachine(t)
	m.write(".config/firma/firma.toml", named("user"))
	p := m.write("proj/.firma/firma.toml", "[sidecar.mapping]\ndefault_protected = false\n")
	m.refused("ConfigNotTrusted", "cloned repository", "sidecar.mapping.default_protected = false (default true)")
	m.trust(p)
	c, err := Discover(m.w)
	if err != nil || c.Protected() {
		t.Fatalf("%v", err)
	}
	m.write("proj/.firma/firma.toml", "[sidecar.mapping]\ndefault_protected = false\nrules_paths = []\n")
	m.refused("ConfigNotTrusted", "has changed since it was trusted")
	m.write("proj/.firma/firma.toml", "nope \x1b[2J = ")
	m.refused("ConfigNotTrusted", "can't be used as it is")
}

// Trust covers what the file names, too: rules and policies decide.
func TestTrustCoversInputs(t *testing.T) {
	m := newMachine(t)
	p := m.write("proj/.firma/firma.toml", "[authority]\n[sidecar.mapping]\nrules_path = \"rules.toml\"\n")
	rules := m.write("proj/.firma/rules.toml", "# one")
	policy := m.write("proj/.firma/policies/a.cedar", "forbid (principal, action, resource);")
	m.trust(p)
	c, err := Discover(m.w)
	if err != nil {
		t.Fatal(err)
	}
	// What is used is what was checked, not what is there a moment later.
	m.write(rules, "# two")
	if got, err := c.ReadFile(rules); err != nil || string(got) != "# one" {
		t.Errorf("ReadFile = %q, %v", got, err)
	}
	m.refused("ConfigNotTrusted", "rules.toml", "is not what was trusted")
	m.write(rules, "# one")
	m.expect(SourceProject, "")

	m.write("proj/.firma/policies/b.cedar", "permit (principal, action, resource);")
	m.refused("ConfigNotTrusted", "is not what was trusted")
	if err := os.Remove(filepath.Join(filepath.Dir(policy), "b.cedar")); err != nil {
		t.Fatal(err)
	}
	m.expect(SourceProject, "")
	m.write(policy, "permit (principal, action, resource);")
	m.refused("ConfigNotTrusted", "a.cedar")
	if err := os.Remove(policy); err != nil {
		t.Fatal(err)
	}
	m.refused("ConfigNotTrusted")
}

func TestPoliciesAreReadAsTrusted(t *testing.T) {
	m := newMachine(t)
	p := m.write("proj/.firma/firma.toml", "[authority]\npolicy_dir = \"p\"\n")
	m.write("proj/.firma/p/b.cedar", "B")
	a := m.write("proj/.firma/p/a.cedar", "A")
	m.trust(p)
	c, err := Discover(m.w)
	if err != nil {
		t.Fatal(err)
	}
	m.write(a, "changed")
	if got, err := c.ReadPolicies(c.Authority.PolicyDir); err != nil || string(got) != "// file: a.cedar\nA\n// file: b.cedar\nB\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.ReadPolicies(m.w.State); err == nil {
		t.Error("a directory without policies was read")
	}
}

func TestUnsafePlacesAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are kept elsewhere on Windows")
	}
	for name, spoil := range map[string]func(*machine, string) error{
		"file writable for all":       func(_ *machine, p string) error { return os.Chmod(p, 0o666) },
		"file writable for the group": func(_ *machine, p string) error { return groupWritable(p, 0o664) },
		"directory writable for all":  func(_ *machine, p string) error { return os.Chmod(filepath.Dir(p), 0o777) },
		"project writable for all":    func(m *machine, _ string) error { return os.Chmod(m.proj, 0o777) },
		"file is a link": func(m *machine, p string) error {
			return firstError(os.Rename(p, p+".real"), os.Symlink(p+".real", p))
		},
		"directory is a link": func(m *machine, p string) error {
			dir := filepath.Dir(p)
			return firstError(os.Rename(dir, dir+".real"), os.Symlink(dir+".real", dir))
		},
		"file is a directory": func(m *machine, p string) error { return firstError(os.Remove(p), os.Mkdir(p, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			p := m.write("proj/.firma/firma.toml", named("x"))
			m.trust(p)
			m.expect(SourceProject, "x")
			if err := spoil(m, p); err != nil {
				t.Fatal(err)
			}
			m.refused("ConfigNotTrusted")
		})
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// groupWritable gives a file to a group that is not the owner's private one.
func groupWritable(p string, mode os.FileMode) error {
	if err := os.Chown(p, -1, os.Getuid()+1); err != nil && os.Getuid() == 0 {
		return err
	} else if err != nil {
		return os.Chmod(p, 0o666) // only root may choose the group
	}
	return os.Chmod(p, mode)
}

func TestUserFileMustBeOurs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("rights are kept elsewhere on Windows")
	}
	m := newMachine(t)
	p := m.write(".config/firma/firma.toml", named("user"))
	if err := os.Chmod(p, 0o666); err != nil {
		t.Fatal(err)
	}
	m.refused("ConfigNotTrusted", "may have been written by somebody else", "writable for everybody")
}

func TestTrustAcceptsOnlyProjects(t *testing.T) {
	m := newMachine(t)
	p := m.write("proj/.firma/firma.toml", named("x"))
	for _, path := range []string{m.proj, filepath.Dir(p), p} {
		if tr, effect, err := Trust(m.w, path); err != nil || tr.Path != p || !strings.Contains(effect, "project.name = x") {
			t.Errorf("%s: %v %q %v", path, tr, effect, err)
		}
	}
	other := m.write("other.toml", named("y"))
	for path, want := range map[string]string{other: fault.ArgumentInvalid, filepath.Join(m.proj, "absent"): "ConfigParse", m.w.Home: "ConfigNotTrusted"} {
		if _, _, err := Trust(m.w, path); fault.NameOf(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func TestASpoiledRecordIsNoTrust(t *testing.T) {
	m := newMachine(t)
	p := m.write("proj/.firma/firma.toml", named("x"))
	m.trust(p)
	name, err := m.w.recordFile(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", `{"path":"/elsewhere","files":{}}`, `{"path":"` + p + `"}`} {
		m.write(name, text)
		m.refused("ConfigNotTrusted")
	}
}

// --config may hold profiles and defaults only; then it lies over what is found.
func TestOverridesLieOverTheConfiguration(t *testing.T) {
	m := newMachine(t)
	m.write(".config/firma/firma.toml", "[project]\nname='user'\n[run.profiles.mine]\nenv_set={A='low',B='low'}\n")
	for _, f := range []struct{ name, text string }{
		{"o.toml", "[defaults]\nenv_set={C='high'}\n[profiles.mine]\nenv_set={A='high'}\nmounts=[]\n"},
		{"o.yaml", "defaults: {env_set: {C: high}}\nprofiles: {mine: {env_set: {A: high}, mounts: []}}\n"},
	} {
		m.w.Explicit = m.write(f.name, f.text)
		m.expect(SourceUser, "user")
		c, err := Discover(m.w)
		if err != nil {
			t.Fatal(err)
		}
		base, p, err := c.Profile("mine")
		if err != nil || base != "generic" || p.EnvSet["A"] != "high" || p.EnvSet["B"] != "low" || p.EnvSet["C"] != "high" || p.Mounts == nil {
			t.Errorf("%s: %s %+v %v", f.name, base, p, err)
		}
	}
	m.w.Explicit = m.write("o.toml", "[profiles.mine]\nenv_sat={}\n")
	m.refused("ConfigValidation", "o.toml:2:1: unknown key profiles.mine.env_sat: did you mean env_set?")
}

func TestProfileLineage(t *testing.T) {
	c := parse(t, "f.toml", `
[run.defaults]
backend = "vz"
env_passthrough = ["D"]
[run.profiles.codex]
backend = "bwrap"
env_passthrough = ["B"]
[run.profiles.parent]
inherits = "codex"
identity_mode = "host_user"
env_passthrough = ["P"]
[run.profiles.child]
inherits = "parent"
identity_mode = "sandbox_user"
env_passthrough = ["C"]
[run.profiles.a]
inherits = "b"
[run.profiles.b]
inherits = "a"
[run.profiles.orphan]
inherits = "nobody"
`)
	base, p, err := c.Profile("child")
	if err != nil || base != "codex" || p.Backend != "bwrap" || p.IdentityMode != "sandbox_user" || strings.Join(p.EnvPassthrough, "") != "DBPC" {
		t.Errorf("%s %+v %v", base, p, err)
	}
	for name, want := range map[string]string{"generic": "generic", "nobody": "nobody", "orphan": "nobody"} {
		if base, _, err := c.Profile(name); base != want || err != nil {
			t.Errorf("%s: base %q, %v", name, base, err)
		}
	}
	if _, _, err := c.Profile("a"); fault.NameOf(err) != "ConfigValidation" {
		t.Errorf("a circle: %v", err)
	}
	if got := strings.Join(c.ProfileNames(), " "); got != "a b child codex generic orphan parent" {
		t.Errorf("profiles %q", got)
	}
}

func TestStateDir(t *testing.T) {
	env := map[string]string{}
	w := Where{Home: "/h", Getenv: func(k string) string { return env[k] }}
	check := func(want string) {
		t.Helper()
		if got, err := StateDir(w, ""); err != nil || filepath.ToSlash(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if runtime.GOOS != "windows" {
		check("/h/.local/state/firma")
		env["XDG_STATE_HOME"] = "/x"
		check("/x/firma")
		env["FIRMA_STATE_DIR"] = "/e"
		check("/e")
		w.State = "/f"
		check("/f")
	}
	if _, err := StateDir(Where{Getenv: func(string) string { return "" }}, ""); fault.NameOf(err) != "StateDirUnknown" {
		t.Errorf("without a home: %v", err)
	}
}
