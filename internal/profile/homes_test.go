package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Whatever HOME says, a home directory is not shown, and what holds one is not.
func TestHomesAreNotShown(t *testing.T) {
	h := host(t)
	own, base := h.Home, filepath.Dir(h.Home)
	alias := filepath.Join(base, "alias")
	if err := os.Symlink(own, alias); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(own, ".ssh", "id"))
	write(t, filepath.Join(own, ".config", "tool", "token"))
	for _, home := range []string{own, alias, own + "/", "", "/nonexistent"} {
		for _, dir := range []string{own, alias, filepath.Join(own, ".ssh")} {
			h.Home, h.Dir = home, dir
			if v := resolve(t, Profile{Name: Generic}, h); mountAt(v, own) != nil || len(v.Notes) == 0 {
				t.Errorf("HOME=%s: %s is shown", home, dir)
			}
			refused(t, Profile{Name: Codex}, h, "WorkspaceForbidden", "can't be the agent's workspace")
		}
	}
	for _, dir := range []string{base, filepath.Join(base, "home", ".config", "tool")} {
		h.Home, h.Dir = alias, dir
		if v := resolve(t, Profile{Name: Generic}, h); len(v.Notes) == 0 {
			t.Errorf("%s is shown", dir)
		}
	}
}

// Accounts have their homes in passwd(5), whatever HOME says.
func TestHomesOfAccounts(t *testing.T) {
	for line, want := range map[string]string{
		"root:x:0:0:root:/root:/bin/sh\n":                         "/root",
		"alice:x:1000:1000::/home/alice:/bin/bash\n":              "/home/alice",
		"bob:x:12345:1::/data/bob:/bin/bash":                      "/data/bob",
		"daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n":       "",
		"www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n":  "",
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/no\n": "",
		"broken:x:x:1::/home/b:/bin/sh\n":                         "",
		"relative:x:1000:1000::home/x:/bin/sh\n":                  "",
		"short:x:1000\n":                                          "",
		"+::::::\n":                                               "",
	} {
		if got := homeOf(line); got != want && os.Getuid() != 1 && os.Getuid() != 33 {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if !slices.Contains((Host{}).settle().homes, "/root") {
		t.Skip("this machine's passwd(5) has no root")
	}
	if why := unfit("/root/x/.config", Host{}.settle()); why != "" {
		t.Errorf("a project in root's home: %s", why)
	}
	if unfit("/root/.config/x", Host{}.settle()) == "" {
		t.Error("root's credentials are shown to whoever has no HOME")
	}
}

// PATH shows the tools of a home and nothing that lies beside them.
func TestPathInAHome(t *testing.T) {
	h := host(t)
	home := h.Home
	for _, p := range []string{".fly/bin/fly", ".fly/config.yml", "work/bin/x", "work/.env", ".cargo/bin/cargo", ".cargo/credentials.toml", "bin/x"} {
		write(t, filepath.Join(home, p))
	}
	var path []string
	for _, d := range []string{".fly/bin", "work/bin", ".cargo/bin", "bin", "", ".ssh"} {
		path = append(path, filepath.Join(home, d))
	}
	h.Env = []string{"PATH=" + strings.Join(path, ":")}
	h.Dir = filepath.Join(filepath.Dir(home), "data")
	v := resolve(t, Profile{Name: Generic}, h)
	for _, d := range path[:4] {
		if !v.Spec.Covered(d) {
			t.Errorf("%s is not shown", d)
		}
	}
	for _, p := range []string{".fly/config.yml", "work/.env", ".cargo/credentials.toml", ".ssh/id"} {
		if v.Spec.Covered(filepath.Join(home, p)) {
			t.Errorf("%s is shown", p)
		}
	}
}

// firma's state is not shown under another name.
func TestStateBehindALink(t *testing.T) {
	h := host(t)
	link := filepath.Join(filepath.Dir(h.Home), "link")
	state := filepath.Join(h.Dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	h.Protected = []string{link}
	refused(t, Profile{Name: Codex}, h, "WorkspaceForbidden", "firma keeps its own state there")
}

func readOnly(v *View, target string) bool {
	m := mountAt(v, target)
	return m != nil && !m.Writable
}

// A worktree's .git is a file that says where the repository is.
func TestGitFileIsGuarded(t *testing.T) {
	h := host(t)
	write(t, filepath.Join(h.Dir, ".git"))
	if v := resolve(t, Profile{Name: Codex}, h); !readOnly(v, filepath.Join(h.Dir, ".git")) {
		t.Error(".git is a file and writable")
	}
}

// Symbolic links can't be guarded: what they lead to is, and a changed one is told.
func TestGitBehindALink(t *testing.T) {
	h := host(t)
	write(t, filepath.Join(h.Dir, "real", "config"))
	write(t, filepath.Join(h.Dir, "real", "hooks", "x"))
	git := filepath.Join(h.Dir, ".git")
	if err := os.Symlink("real", git); err != nil {
		t.Fatal(err)
	}
	v := resolve(t, Profile{Name: Codex}, h)
	if m := mountAt(v, filepath.Join(h.Dir, "real")); m == nil || !m.Writable {
		t.Error("the repository is not a mount of its own")
	}
	for _, p := range []string{"real/config", "real/hooks"} {
		if !readOnly(v, filepath.Join(h.Dir, p)) {
			t.Errorf("%s is writable", p)
		}
	}
	if found := v.Appeared(); len(found) > 0 {
		t.Errorf("unchanged, and yet %q", found)
	}
	write(t, filepath.Join(h.Dir, "other", "config"))
	if err := os.Remove(git); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", git); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(v.Appeared(), git) {
		t.Errorf("%s leads somewhere else, told: %q", git, v.Appeared())
	}
}

// What the repository's configuration makes git run is guarded where it is.
func TestGitObeys(t *testing.T) {
	h := host(t)
	config := "[core]\n\tbare = false\n\thooksPath = scripts/hooks\n[user]\n\tpath = x\n[include]\n\tpath = ../shared.inc\n" +
		"[includeIf \"gitdir:~/\"] path = \"../more.inc\"\n\tpath = /elsewhere\n[core] HOOKSPATH=../outside\n"
	for p, text := range map[string]string{".git/config": config, "scripts/hooks/pre-commit": "", "shared.inc": "", "more.inc": ""} {
		if err := os.WriteFile(write(t, filepath.Join(h.Dir, p)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v := resolve(t, Profile{Name: Codex}, h)
	for _, p := range []string{"scripts/hooks", "shared.inc", "more.inc", ".git/config"} {
		if !readOnly(v, filepath.Join(h.Dir, p)) {
			t.Errorf("%s is writable", p)
		}
	}
	for _, m := range v.Spec.Mounts {
		if strings.HasSuffix(m.Target, "outside") || strings.HasSuffix(m.Target, "elsewhere") {
			t.Errorf("shown: %s", m.Target)
		}
	}
}

// What is written the less usual ways is guarded, too: with a comment, quoted,
// continued, below ~, through a link, in a file that another includes.
func TestGitObeysOddlyWritten(t *testing.T) {
	h := host(t)
	proj, err := filepath.Rel(h.Home, h.Dir)
	if err != nil || strings.HasPrefix(proj, "..") {
		t.Fatalf("%s is not below %s", h.Dir, h.Home)
	}
	elsewhere := filepath.Join(h.Home, "elsewhere")
	for p, text := range map[string]string{
		filepath.Join(h.Dir, ".git/config"): "[core]\n\thooksPath = noted # why\n\thooksPath = \"quo\"ted;x\n\thooksPath = con\\\ntinued\n\thooksPath = ~/" + proj + "/below\n" +
			"\thooksPath = a\tb\n[includeIf \"gitdir:/a]/\"]path = ../one.inc\n[include]\n\tpath = " + elsewhere + "\n[core \"x\"]\n\thooksPath = another\n",
		filepath.Join(h.Dir, "one.inc"):              "[include]\npath = two.inc ; more\n",
		filepath.Join(h.Dir, "two.inc"):              "[core]\nhooksPath = nested\n[include]\npath = one.inc\n",
		elsewhere:                                    "[core]\nhooksPath = outer\n",
		filepath.Join(h.Dir, ".git/config.worktree"): "[core]\nhooksPath = worktree\n",
	} {
		if err := os.WriteFile(write(t, p), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	guarded := []string{"noted", "quoted", "continued", "below", "a b", "a\tb", "nested", "outer", "worktree"}
	for _, p := range append(guarded, "another") {
		write(t, filepath.Join(h.Dir, p, "pre-commit"))
	}
	v := resolve(t, Profile{Name: Codex}, h)
	for _, p := range append(guarded, "one.inc", "two.inc") {
		if !readOnly(v, filepath.Join(h.Dir, p)) {
			t.Errorf("%s is writable", p)
		}
	}
	if readOnly(v, filepath.Join(h.Dir, "another")) {
		t.Error("what is no setting of git's is guarded")
	}
}

// firma starts no program of the host that a run could have planted.
func TestHostPathLeavesTheProjectOut(t *testing.T) {
	h := host(t)
	write(t, filepath.Join(h.Dir, ".git", "config"))
	tools := filepath.Dir(write(t, filepath.Join(h.Dir, "node_modules", ".bin", "bwrap")))
	link := filepath.Join(h.Home, "link")
	if err := os.Symlink(tools, link); err != nil {
		t.Fatal(err)
	}
	h.Env = []string{"PATH=" + strings.Join([]string{tools, link, filepath.Join(h.Dir, "absent"), "/usr/bin", h.Home}, ":")}
	want := "/usr/bin:" + h.Home
	sub := filepath.Join(h.Dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{h.Dir, sub} {
		h.Dir = dir
		if got := HostPath(h); got != want {
			t.Errorf("in %s: %s", dir, got)
		}
	}
	h.Dir = "/"
	if got := HostPath(h); !strings.HasPrefix(got, tools) {
		t.Errorf("outside of any project: %s", got)
	}
}
