package gate

import (
	"os"
	"path/filepath"
	"testing"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// host makes files below a directory: "x" is executable, "-" is not, anything
// else is the target of a symbolic link.
func host(t *testing.T, files map[string]string) string {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range files {
		p := filepath.Join(base, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case err != nil:
		case kind == "x":
			err = os.WriteFile(p, nil, 0o755)
		case kind == "-":
			err = os.WriteFile(p, nil, 0o644)
		default:
			err = os.Symlink(kind, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func TestFind(t *testing.T) {
	base := host(t, map[string]string{
		"usr/bin/git": "x", "usr/bin/notes": "-", "usr/lib/real": "x", "usr/local/bin/git": "-",
		"usr/bin/link":           "../lib/real",
		"usr/bin/abs":            "/usr/lib/real", // as the sandbox sees it, not the host
		"usr/bin/chain":          "link",
		"usr/bin/loop":           "loop",
		"usr/bin/out":            "/etc/shadow",
		"usr/bin/toproc":         "/proc/self/exe",
		"usr/bin/hidden":         "../share/private/tool",
		"usr/bin/bylink":         "/bin/git",
		"usr/bin/dangling":       "nowhere",
		"usr/share/private/tool": "x",
		"proj/run.sh":            "x", "proj/sub/tool": "x",
		"store/v1/bin/tool": "x", "store/current": "v1",
		"elsewhere/git": "x",
	})
	spec := &sandbox.Spec{
		Mounts: []sandbox.Mount{
			{Source: base + "/usr", Target: "/usr"},
			{Source: base + "/proj", Target: "/work"},
			{Source: base + "/store/current", Target: "/opt/tool"},
			{Source: base + "/usr/lib/real", Target: "/work/sub/tool"},
		},
		Private:  []sandbox.Private{{Path: "/usr/share/private"}, {Path: "/home/agent"}},
		Files:    []sandbox.File{{Path: "/etc/hostname"}},
		Symlinks: []sandbox.Symlink{{Path: "/bin", Target: "usr/bin"}, {Path: "/etc/alternatives/git", Target: "/usr/bin/git"}},
	}
	const path = "/usr/local/bin:/nowhere:/bin:/usr/bin:/opt/tool/bin"
	for _, tt := range []struct{ command, inside, host, fault string }{
		{"git", "/bin/git", "/usr/bin/git", ""},
		{"/usr/bin/git", "/usr/bin/git", "/usr/bin/git", ""},
		{"/bin/git", "/bin/git", "/usr/bin/git", ""},
		{"/bin/../bin/./git", "/bin/../bin/./git", "/usr/bin/git", ""},
		{"/etc/alternatives/git", "/etc/alternatives/git", "/usr/bin/git", ""},
		{"link", "/bin/link", "/usr/lib/real", ""},
		{"abs", "/bin/abs", "/usr/lib/real", ""},
		{"chain", "/bin/chain", "/usr/lib/real", ""},
		{"bylink", "/bin/bylink", "/usr/bin/git", ""},
		{"tool", "/opt/tool/bin/tool", "/store/v1/bin/tool", ""},
		{"./run.sh", "./run.sh", "/proj/run.sh", ""},
		{"../work/run.sh", "../work/run.sh", "/proj/run.sh", ""},
		{"../../../../work/run.sh", "../../../../work/run.sh", "/proj/run.sh", ""},
		{"sub/tool", "sub/tool", "/usr/lib/real", ""}, // a file mounted over another

		{"notes", "", "", "CommandNotExecutable"},
		{"/usr/bin", "", "", "CommandNotExecutable"},
		{"nothing", "", "", "CommandNotFound"},
		{"/usr/bin/nothing", "", "", "CommandNotFound"},
		{"/usr/bin/git/x", "", "", "CommandNotFound"},
		{base + "/usr/bin/git", "", "", "CommandNotFound"}, // the host's own path is not inside
		{base + "/elsewhere/git", "", "", "CommandNotFound"},
		{"loop", "", "", "CommandNotFound"},
		{"dangling", "", "", "CommandNotFound"},
		{"out", "", "", "CommandNotFound"},
		{"hidden", "", "", "CommandNotFound"}, // behind a private directory
		{"/home/agent/x", "", "", "CommandNotFound"},
		{"/home", "", "", "CommandNotFound"},
		{"/", "", "", "CommandNotFound"},
		{"", "", "", "CommandNotFound"},
		{"/proc/self/exe", "", "", Name},
		{"/dev/fd/3", "", "", Name},
		{"toproc", "", "", Name},
		{"/etc/hostname", "", "", Name},
	} {
		got, err := Find(spec, tt.command, "/work", path)
		if fault.NameOf(err) != tt.fault {
			t.Errorf("%q: %v, want %q", tt.command, err, tt.fault)
			continue
		}
		want := tt.host
		if want != "" {
			want = base + want
		}
		if got.Inside != tt.inside || got.Host != want || (got.Info != nil) != (tt.fault == "") {
			t.Errorf("%q: %q is %q, want %q, %q", tt.command, got.Inside, got.Host, tt.inside, want)
		}
	}
}

func TestFindByRelativePATH(t *testing.T) {
	base := host(t, map[string]string{"a/tool": "x"})
	spec := &sandbox.Spec{Mounts: []sandbox.Mount{{Source: base, Target: "/w"}}}
	if p, err := Find(spec, "tool", "/w", "a"); err != nil || p.Host != base+"/a/tool" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestShown(t *testing.T) {
	base := host(t, map[string]string{"proj/x": "-", "private/x": "-", "alias": "proj"})
	spec := &sandbox.Spec{Mounts: []sandbox.Mount{{Source: base + "/proj", Target: "/w"}, {Source: base + "/private/x", Target: "/x"}}}
	for path, want := range map[string]bool{
		base + "/proj/s.sock":            true,
		base + "/proj/no/such/s.sock":    true,
		base + "/alias/s.sock":           true, // the same directory by another name
		base + "/alias/no/such/s.sock":   true,
		base + "/proj/../proj/s":         true,
		base + "/private/x":              true,
		base + "/proj2/s.sock":           false,
		base + "/private/s.sock":         false,
		base + "/s.sock":                 false,
		"/run/user/1000/firma/gate.sock": false,
	} {
		if m, got := Shown(spec, path); got != want {
			t.Errorf("%s: %v %+v", path, got, m)
		}
	}
	if _, shown := Shown(&sandbox.Spec{Mounts: []sandbox.Mount{{Source: base + "/alias", Target: "/w"}}}, base+"/proj/s"); !shown {
		t.Error("a mount of a link to the directory")
	}
}

func TestCanonical(t *testing.T) {
	base := host(t, map[string]string{"git": "x", "link": "git"})
	got := Canonical([]string{base + "/link", base + "/none"})
	if len(got) != 1 || got[0] != base+"/git" {
		t.Errorf("%q", got)
	}
}
