package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// host is a machine with a home, a project in it and firma's state.
func host(t *testing.T) Host {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := Host{Dir: filepath.Join(base, "home", "proj"), Home: filepath.Join(base, "home"), Command: "true",
		Env: []string{"PATH=/usr/bin", "TERM=xterm", "EDITOR=vi", "OPENAI_API_KEY=sk-1", "SECRET_THING=x"}}
	h.Protected = []string{filepath.Join(h.Home, ".local", "state", "firma")}
	for _, d := range append(h.Protected, h.Dir, filepath.Join(base, "data")) {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func write(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func resolve(t *testing.T, p Profile, h Host) *View {
	t.Helper()
	v, err := p.Resolve(h)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func refused(t *testing.T, p Profile, h Host, name, part string) {
	t.Helper()
	_, err := p.Resolve(h)
	if fault.NameOf(err) != name || !strings.Contains(err.Error(), part) {
		t.Errorf("%v, want %s … %s", err, name, part)
	}
}

func mountAt(v *View, target string) *sandbox.Mount {
	for i, m := range v.Spec.Mounts {
		if m.Target == target {
			return &v.Spec.Mounts[i]
		}
	}
	return nil
}

func TestBuiltInProfiles(t *testing.T) {
	h := host(t)
	g := resolve(t, Profile{Name: Generic}, h)
	if m := mountAt(g, h.Dir); m == nil || m.Writable || g.Dir != h.Dir {
		t.Errorf("generic: the current directory is %+v, dir %s", m, g.Dir)
	}
	c := resolve(t, Profile{Name: "mine", Base: Codex}, h)
	if m := mountAt(c, h.Dir); m == nil || !m.Writable || c.Name != "mine" {
		t.Errorf("codex: the workspace is %+v, name %s", m, c.Name)
	}
	refused(t, Profile{Name: "nope"}, h, "UnknownProfile", "no profile named nope")
	refused(t, Profile{Name: Generic, IdentityMode: "root"}, h, "ArgumentInvalid", "no identity mode root")
}

func TestEnvironment(t *testing.T) {
	h := host(t)
	v := resolve(t, Profile{Name: Generic, EnvPass: []string{"EDITOR", "ABSENT", "OPENAI_API_KEY"}, EnvSet: map[string]string{"A": "1", "PATH": "/opt/x"},
		EnvAllowSecret: []string{"OPENAI_API_KEY"}}, h)
	for _, want := range []string{"EDITOR=vi", "A=1", "OPENAI_API_KEY=sk-1", "PATH=/opt/x", "HOME=/home/agent", "HTTP_PROXY=http://127.0.0.1:18080"} {
		if !slices.Contains(v.Env, want) {
			t.Errorf("%s is missing from %q", want, v.Env)
		}
	}
	if s := strings.Join(v.Env, "\n"); strings.Contains(s, "SECRET_THING") || strings.Contains(s, "ABSENT") {
		t.Errorf("too much is passed: %q", v.Env)
	}
	if !slices.IsSorted(v.Env) {
		t.Error("the environment is not sorted")
	}
}

func TestEnvironmentRefused(t *testing.T) {
	h := host(t)
	for _, tt := range []struct {
		p    Profile
		part string
	}{
		{Profile{EnvPass: []string{"OPENAI_API_KEY"}}, "OPENAI_API_KEY looks like a secret"},
		{Profile{EnvSet: map[string]string{"GH_TOKEN": "x"}}, "GH_TOKEN looks like a secret"},
		{Profile{EnvPass: []string{"PATH"}}, "PATH can't be passed"},
		{Profile{EnvPass: []string{"HOME"}}, "HOME is set by firma"},
		{Profile{EnvSet: map[string]string{"https_proxy": "http://x"}}, "https_proxy is set by firma"},
		{Profile{EnvSet: map[string]string{"FIRMA_RUN_SANDBOX_ID": "x"}}, "FIRMA_RUN_SANDBOX_ID is set by firma"},
		{Profile{EnvSet: map[string]string{"A=B": "x"}}, "not the name of a variable"},
		{Profile{EnvSet: map[string]string{"1A": "x"}}, "not the name of a variable"},
		{Profile{EnvSet: map[string]string{"": "x"}}, "not the name of a variable"},
		{Profile{EnvSet: map[string]string{"A": "x\x00y"}}, "NUL"},
	} {
		tt.p.Name = Generic
		refused(t, tt.p, h, "ConfigValidation", tt.part)
	}
}

func TestLooksSecret(t *testing.T) {
	for name, want := range map[string]bool{
		"AWS_SECRET_ACCESS_KEY": true, "GITHUB_TOKEN": true, "OPENAI_API_KEY": true, "DB_PASSWORD": true, "PGPASSWORD": true,
		"SSH_AUTH_SOCK": true, "npm_config__authToken": true, "GITHUB_PAT": true, "SENTRY_DSN": true, "MYSQL_PWD": true, "apikey": true,
		"EDITOR": false, "PATH": false, "MONKEY": false, "KEYBOARD": false, "AUTHOR": false, "PATTERN": false, "OLDPWD": false, "GOFLAGS": false,
	} {
		if got := LooksSecret(name); got != want {
			t.Errorf("LooksSecret(%q) = %v", name, got)
		}
	}
}

func TestMountsReplaceTheProject(t *testing.T) {
	h := host(t)
	data := filepath.Join(filepath.Dir(h.Home), "data")
	v := resolve(t, Profile{Name: Generic, Mounts: []sandbox.Mount{{Source: data, Target: "/data", Writable: true}}}, h)
	if mountAt(v, h.Dir) != nil || v.Dir != "/home/agent" {
		t.Errorf("the project is still shown, dir %s", v.Dir)
	}
	if m := mountAt(v, "/data"); m == nil || m.Source != data || !m.Writable {
		t.Errorf("/data is %+v", m)
	}
	if v := resolve(t, Profile{Name: Codex, Mounts: []sandbox.Mount{}}, h); mountAt(v, h.Dir) != nil {
		t.Error("an empty list shows the project")
	}
	v = resolve(t, Profile{Name: Generic, Mounts: []sandbox.Mount{{Source: h.Dir}}}, h)
	if m := mountAt(v, h.Dir); m == nil || m.Writable || v.Dir != h.Dir {
		t.Errorf("without a target: %+v, dir %s", m, v.Dir)
	}
}

func TestMountsFollowLinks(t *testing.T) {
	h := host(t)
	link := filepath.Join(h.Home, "link")
	if err := os.Symlink(h.Protected[0], link); err != nil {
		t.Fatal(err)
	}
	refused(t, Profile{Name: Generic, Mounts: []sandbox.Mount{{Source: link, Target: "/x"}}}, h, "ConfigValidation", "firma keeps its own state there")
}

// A writable mount is guarded like a workspace, wherever it is mounted.
func TestWritableMountsAreGuarded(t *testing.T) {
	h := host(t)
	write(t, filepath.Join(h.Dir, ".git", "config"))
	v := resolve(t, Profile{Name: Generic, Mounts: []sandbox.Mount{{Source: h.Dir, Target: "/w", Writable: true}}}, h)
	if m := mountAt(v, "/w/.git/config"); m == nil || m.Writable || m.Source != filepath.Join(h.Dir, ".git", "config") {
		t.Errorf("/w/.git/config is %+v", m)
	}
}

func TestMountsRefused(t *testing.T) {
	h := host(t)
	data := filepath.Join(filepath.Dir(h.Home), "data")
	for _, tt := range []struct {
		ms   []sandbox.Mount
		part string
	}{
		{[]sandbox.Mount{{Source: "data"}}, "not an absolute path"},
		{[]sandbox.Mount{{Source: data + "/../data"}}, "not an absolute path"},
		{[]sandbox.Mount{{Source: data, Target: "x"}}, "not an absolute path"},
		{[]sandbox.Mount{{Source: data + "/absent"}}, "it is not there"},
		{[]sandbox.Mount{{Source: "/dev/null", Target: "/x"}}, "neither a directory nor a file"},
		{[]sandbox.Mount{{Source: h.Home, Target: "/x"}}, "firma keeps its own state there"},
		{[]sandbox.Mount{{Source: filepath.Join(h.Protected[0]), Target: "/x"}}, "firma keeps its own state there"},
		{[]sandbox.Mount{{Source: "/", Target: "/x"}}, "firma keeps its own state there"},
		{[]sandbox.Mount{{Source: data, Target: "/x"}, {Source: data, Target: "/x"}}, "it would cover /x"},
		{[]sandbox.Mount{{Source: data, Target: "/"}}, "the sandbox has its own"},
		{[]sandbox.Mount{{Source: data, Target: "/proc/1"}}, "the sandbox has its own /proc"},
		{[]sandbox.Mount{{Source: data, Target: "/dev"}}, "the sandbox has its own /dev"},
		{[]sandbox.Mount{{Source: data, Target: "/etc"}}, "it would cover /etc"},
		{[]sandbox.Mount{{Source: data, Target: "/etc/passwd"}}, "it would cover /etc/passwd"},
		{[]sandbox.Mount{{Source: data, Target: "/home"}}, "it would cover /home/agent"},
		{[]sandbox.Mount{{Source: data, Target: "/usr"}}, "it would cover /usr"},
		{[]sandbox.Mount{{Source: data, Target: "/usr/no-such-place"}}, "the host has no such path"},
		{[]sandbox.Mount{{Source: data, Target: "/w", Writable: true}, {Source: data, Target: "/w/inner"}}, "the host has no such path"},
	} {
		refused(t, Profile{Name: Generic, Mounts: tt.ms}, h, "ConfigValidation", tt.part)
	}
}

func TestIdentities(t *testing.T) {
	h := host(t)
	if v := resolve(t, Profile{Name: Generic}, h); v.Spec.Identity != Agent {
		t.Errorf("sandbox-user is %+v", v.Spec.Identity)
	}
	// host-user: the caller's numbers, and its home's path, private and empty.
	h.Home = "/home/someone"
	v := resolve(t, Profile{Name: Generic, IdentityMode: HostUser}, h)
	id := v.Spec.Identity
	if id.UID != os.Getuid() || id.GID != os.Getgid() || id.Home != h.Home || id.Mode != HostUser {
		t.Errorf("host-user is %+v", id)
	}
	private := slices.ContainsFunc(v.Spec.Private, func(p sandbox.Private) bool { return p.Path == h.Home })
	if !private || mountAt(v, h.Home) != nil {
		t.Error("the home is not private")
	}
	for _, want := range []string{"HOME=" + h.Home, "USER=" + id.Name} {
		if !slices.Contains(v.Env, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, home := range []string{"", "/", "relative", "/usr/games", "/tmp", "/etc/x", "/home/x/"} {
		h.Home = home
		refused(t, Profile{Name: Generic, IdentityMode: HostUser}, h, "IdentityUnavailable", "can't be a private directory")
	}
}

// What is firma's own is taken out of the project that is shown.
func TestFirmasFilesAreHidden(t *testing.T) {
	for _, base := range []string{Generic, Codex} {
		h := host(t)
		inDir := write(t, filepath.Join(h.Dir, ".local", "firma.toml"))
		plain := write(t, filepath.Join(h.Dir, "firma.toml"))
		rules := write(t, filepath.Join(h.Dir, "conf", "rules.toml"))
		policies := filepath.Dir(write(t, filepath.Join(h.Dir, "policies", "a.cedar")))
		logs := filepath.Join(filepath.Dir(write(t, filepath.Join(h.Dir, "log", "old"))), "audit.jsonl")
		outside := write(t, filepath.Join(h.Home, "elsewhere.toml"))
		h.Hidden = []Hidden{{Path: inDir}, {Path: plain}, {Path: rules}, {Path: policies}, {Path: logs, Written: true}, {Path: outside}, {Path: filepath.Join(h.Dir, "absent")}}
		v := resolve(t, Profile{Name: base}, h)
		for _, dir := range []string{filepath.Dir(inDir), policies, filepath.Dir(logs)} {
			if !slices.ContainsFunc(v.Spec.Private, func(p sandbox.Private) bool { return p.Path == dir }) {
				t.Errorf("%s: %s is shown", base, dir)
			}
		}
		for _, f := range []string{plain, rules} {
			if m := mountAt(v, f); m == nil || m.Source != "/dev/null" || m.Writable {
				t.Errorf("%s: %s is %+v", base, f, m)
			}
		}
		if mountAt(v, outside) != nil {
			t.Errorf("%s: a file outside was mounted", base)
		}
		h.Hidden = []Hidden{{Path: filepath.Join(h.Dir, "audit.jsonl"), Written: true}}
		refused(t, Profile{Name: base}, h, "WorkspaceForbidden", "would be written where the agent can reach it")
		h.Hidden = []Hidden{{Path: h.Dir}}
		refused(t, Profile{Name: base}, h, "WorkspaceForbidden", "the agent would start in it")
	}
}

// Where a mount has another target, that is where its files are hidden.
func TestHiddenThroughMounts(t *testing.T) {
	h := host(t)
	f := write(t, filepath.Join(h.Dir, "firma.toml"))
	h.Hidden = []Hidden{{Path: f}}
	v := resolve(t, Profile{Name: Generic, Mounts: []sandbox.Mount{{Source: h.Dir, Target: "/w"}, {Source: h.Dir, Target: "/again"}}}, h)
	for _, target := range []string{"/w/firma.toml", "/again/firma.toml"} {
		if m := mountAt(v, target); m == nil || m.Source != "/dev/null" {
			t.Errorf("%s is %+v", target, m)
		}
	}
}

// No list of mounts, however odd, shows firma's state or covers what the sandbox
// is made of.
func TestMountsProperty(t *testing.T) {
	h := host(t)
	base := resolve(t, Profile{Name: Generic, Mounts: []sandbox.Mount{}}, h)
	own := map[string]bool{}
	for _, op := range base.Spec.Ops() {
		own[op.Target()] = true
	}
	sources := []string{"/", "/usr/share", h.Home, h.Dir, h.Protected[0], filepath.Dir(h.Protected[0]), filepath.Dir(h.Home)}
	targets := append([]string{"", "/x", "/x/y", "/home/agent/z", "/proc/self", "/home"}, sources...)
	rapid.Check(t, func(rt *rapid.T) {
		var ms []sandbox.Mount
		for range rapid.IntRange(1, 4).Draw(rt, "n") {
			ms = append(ms, sandbox.Mount{Source: rapid.SampledFrom(sources).Draw(rt, "source"), Target: rapid.SampledFrom(targets).Draw(rt, "target"), Writable: rapid.Bool().Draw(rt, "writable")})
		}
		p := Profile{Name: Generic, Mounts: ms}
		v, err := p.Resolve(h)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, m := range v.Spec.Mounts {
			if sandbox.Within(h.Protected[0], m.Source) {
				rt.Fatalf("%+v shows firma's state", m)
			}
			if seen[m.Target] {
				rt.Fatalf("%s is mounted twice", m.Target)
			}
			seen[m.Target] = true
		}
		for _, m := range v.Spec.Mounts[len(base.Spec.Mounts):] {
			for target := range own {
				if sandbox.Within(target, m.Target) {
					rt.Fatalf("%+v covers %s", m, target)
				}
			}
		}
	})
}
