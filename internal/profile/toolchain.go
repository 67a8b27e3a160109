package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/sandbox"
)

var standardPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// homeToolchains says, for a directory under home that is often on PATH, what
// else its programs need. Credentials beside them (~/.cargo/credentials.toml,
// ~/.npmrc) are not in the list.
var homeToolchains = map[string][]string{
	".cargo":      {".cargo/bin", ".rustup/toolchains", ".rustup/settings.toml"},
	".local":      {".local/bin", ".local/lib", ".local/pipx"},
	"go":          {"go/bin"},
	".pyenv":      {".pyenv"},
	".rbenv":      {".rbenv"},
	".nodenv":     {".nodenv"},
	".goenv":      {".goenv"},
	".nvm":        {".nvm"},
	".volta":      {".volta"},
	".fnm":        {".fnm"},
	".npm-global": {".npm-global/bin", ".npm-global/lib"},
	".yarn":       {".yarn/bin", ".yarn/lib"},
	".bun":        {".bun/bin", ".bun/install/global"},
	".deno":       {".deno/bin"},
	".asdf":       {".asdf"},
	".sdkman":     {".sdkman/candidates"},
	"bin":         {"bin"},
}

// toolchains shows what PATH points to, read-only, and returns the PATH of the
// sandbox: the entries that exist inside, in the host's order.
func (v *View) toolchains(h Host) []string {
	var path []string
	for _, dir := range filepath.SplitList(lookupEnv(h.Env, "PATH")) {
		if !filepath.IsAbs(dir) || !isDir(dir) {
			continue
		}
		dir = filepath.Clean(dir)
		for _, root := range toolRoots(dir, h) {
			v.showTool(root, h)
		}
		if (v.Spec.Covered(dir) || slices.Contains(standardPath, dir)) && !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	for _, dir := range standardPath {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	v.showCommand(h, path)
	return path
}

// HostPath is the caller's PATH without what lies in the project. firma itself
// starts programs of the host, before there is a sandbox: an agent that plants one
// in node_modules/.bin must not find it run that way.
func HostPath(h Host) string {
	h = h.settle()
	project, err := filepath.EvalSymlinks(h.Dir)
	if err != nil {
		return lookupEnv(h.Env, "PATH")
	}
	project = gitRoot(project, h)
	var kept []string
	for _, dir := range filepath.SplitList(lookupEnv(h.Env, "PATH")) {
		if unfit(project, h) != "" || !sandbox.Within(realPath(dir), project) {
			kept = append(kept, dir)
		}
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

// toolRoots are the directories that a PATH entry needs to be of use.
func toolRoots(dir string, h Host) []string {
	if sandbox.Within(dir, "/usr") || slices.Contains(standardPath, dir) {
		return nil
	}
	home := underHome(dir, h)
	if home != "" {
		first, _, _ := strings.Cut(strings.TrimPrefix(dir, home+"/"), "/")
		var roots []string
		for _, r := range homeToolchains[first] {
			roots = append(roots, filepath.Join(home, r))
		}
		if roots != nil {
			return roots
		}
	}
	// PREFIX/bin: what its programs load lies beside it. Not under home, where a
	// directory with a bin in it is as likely a project with an .env.
	prefix := filepath.Dir(dir)
	if filepath.Base(dir) != "bin" || home != "" || depth(prefix) < 2 {
		return []string{dir}
	}
	var roots []string
	for _, name := range []string{"bin", "lib", "lib64", "libexec", "share", "pkg", "src", "jre"} {
		if p := filepath.Join(prefix, name); isDir(p) {
			roots = append(roots, p)
		}
	}
	return roots
}

func depth(p string) int { return strings.Count(p, "/") }

func (v *View) showTool(root string, h Host) {
	real, err := filepath.EvalSymlinks(root)
	if err != nil || v.Spec.Covered(root) || unfit(real, h) != "" {
		return
	}
	v.Spec.Mounts = append(v.Spec.Mounts, sandbox.Mount{Source: real, Target: root})
}

// showCommand follows the agent's own executable through its symbolic links, so
// that installers which keep versions elsewhere (~/.local/bin/x →
// ~/.local/share/x/1.2/x) work.
func (v *View) showCommand(h Host, path []string) {
	p := h.Command
	if !strings.Contains(p, "/") {
		p = find(p, path)
	}
	for range 8 {
		st, err := os.Lstat(p)
		if err != nil || !filepath.IsAbs(p) {
			return
		}
		if !v.Spec.Covered(p) && underHome(p, h) != "" {
			v.showTool(versionRoot(p, h), h)
		}
		if st.Mode()&os.ModeSymlink == 0 {
			return
		}
		target, err := os.Readlink(p)
		if err != nil {
			return
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(p), target)
		}
		p = target
	}
}

// versionRoot is ~/.local/share/NAME for what lies there, the file itself otherwise.
func versionRoot(p string, h Host) string {
	share := filepath.Join(underHome(p, h), ".local", "share")
	if rel, ok := strings.CutPrefix(p, share+"/"); ok {
		first, _, _ := strings.Cut(rel, "/")
		return filepath.Join(share, first)
	}
	return p
}

func find(name string, path []string) string {
	for _, dir := range path {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}
