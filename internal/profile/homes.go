package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"firma/internal/sandbox"
)

// homeMarks are what lies in a home directory and in no project.
var homeMarks = []string{".ssh", ".gnupg", ".password-store", ".bash_history", ".zsh_history"}

// settle completes a host's paths: what is refused must be refused under every
// name it has. HOME may be unset, wrong, or a symbolic link (/home → /var/home),
// and root can read the homes of all.
func (h Host) settle() Host {
	for _, p := range h.Protected {
		h.Protected = addPath(h.Protected[:len(h.Protected):len(h.Protected)], realPath(p))
	}
	h.homes = nil
	if filepath.IsAbs(h.Home) {
		h.homes = addPath(addPath(h.homes, h.Home), realPath(h.Home))
	}
	passwd, _ := os.ReadFile("/etc/passwd") // absent on other systems: HOME has to do
	parents := map[string]string{}
	for line := range strings.Lines(string(passwd)) {
		home := homeOf(line)
		if home == "" {
			continue
		}
		dir := filepath.Dir(home)
		if parents[dir] == "" {
			// The homes themselves are not looked at: that could mount each of them.
			parents[dir] = realPath(dir)
		}
		h.homes = addPath(addPath(h.homes, home), filepath.Join(parents[dir], filepath.Base(home)))
	}
	return h
}

// homeOf returns the home directory in a line of passwd(5), if it is a person's:
// root's or an ordinary account's.
func homeOf(line string) string {
	f := strings.Split(strings.TrimSpace(line), ":")
	if len(f) < 7 || !filepath.IsAbs(f[5]) {
		return ""
	}
	uid, err := strconv.Atoi(f[2])
	const firstPerson, nobody = 1000, 65534 // login.defs(5)
	if err != nil || uid != 0 && uid != os.Getuid() && (uid < firstPerson || uid == nobody) {
		return ""
	}
	return f[5]
}

func addPath(to []string, p string) []string {
	if p = filepath.Clean(p); p == "/" || slices.Contains(to, p) {
		return to
	}
	return append(to, p)
}

// someonesHome says why dir must not be shown, if that is because of a home.
func someonesHome(dir string, h Host) string {
	for _, home := range h.homes {
		switch {
		case dir == home:
			return "it is not a project directory"
		case sandbox.Within(home, dir) && (home == h.Home || home == realPath(h.Home)):
			return "your home directory lies in it"
		case sandbox.Within(home, dir):
			return "a home directory lies in it (" + home + ")"
		}
		for _, s := range secretDirs {
			if sandbox.Within(dir, filepath.Join(home, s)) {
				return "~/" + s + " holds credentials"
			}
		}
	}
	for _, mark := range homeMarks {
		if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
			return "it looks like a home directory: " + mark + " lies in it"
		}
	}
	return ""
}

// underHome returns the home that dir lies in, as dir spells it, or "".
func underHome(dir string, h Host) string {
	for _, home := range h.homes {
		if dir != home && sandbox.Within(dir, home) {
			return home
		}
	}
	return ""
}
