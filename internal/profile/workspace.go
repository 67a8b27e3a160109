package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// hostRuns are the files of a project that the host's own tools execute or obey
// later: git hooks and configuration, editors, shells, agents. The agent may read
// them. Only those that exist can be guarded without creating anything in the
// workspace; the others are looked for when the run ends (Appeared).
var hostRuns = []string{
	".git/hooks", ".git/config", ".git/info", ".git/modules", ".git/worktrees", ".git/config.worktree", ".git/commondir",
	".gitmodules", ".githooks", ".husky", ".pre-commit-config.yaml", ".lefthook.yml", "lefthook.yml",
	".vscode", ".idea", ".devcontainer", ".devcontainer.json", ".claude", ".codex", ".mcp.json", ".cursor",
	".envrc", ".mise.toml", "mise.toml", ".tool-versions", ".firma",
}

// workspace shows the project writable: the git root of the working directory,
// or the directory itself.
func (v *View) workspace(h Host) error {
	dir, err := filepath.EvalSymlinks(h.Dir)
	if err != nil {
		return fault.Wrap(err, "WorkspaceForbidden", "the working directory can't be resolved", "cd into a project directory")
	}
	root := gitRoot(dir, h)
	if why := unfit(root, h); why != "" {
		return fault.New("WorkspaceForbidden", root+" can't be the agent's workspace: "+why, "cd into a project directory and run again")
	}
	v.show(root, true)
	v.Dir = dir
	v.guard(root, root, h.Home)
	return nil
}

// guard makes hostRuns read-only in the project at root, which the sandbox has at
// target; home is the caller's. A .git directory becomes a mount point of its own, so that it can't be
// renamed away and replaced; a .git file, which says where a worktree's or a
// submodule's directory is, is read-only like the rest.
func (v *View) guard(root, target, home string) {
	g := guarded{v: v, root: root, target: target}
	g.protect(".git", isDir(filepath.Join(root, ".git")))
	for _, p := range append(gitObeys(root, home), hostRuns...) {
		g.protect(p, false)
	}
}

// guarded is one writable project while it is being guarded.
type guarded struct {
	v            *View
	root, target string
}

// protect makes root/p a mount of its own, read-only unless writable. A symbolic
// link can't be one: what it leads to is, if that is in the project, and the link
// itself is compared when the run ends (Appeared).
func (g *guarded) protect(p string, writable bool) {
	full := filepath.Join(g.root, p)
	if _, err := os.Lstat(full); err != nil {
		g.v.absent = append(g.v.absent, full)
		return
	}
	real, err := filepath.EvalSymlinks(full)
	if err != nil || real != full {
		g.v.links = append(g.v.links, link{full, real})
	}
	rel, inside := strings.CutPrefix(real, g.root+"/")
	if m := (sandbox.Mount{Source: real, Target: filepath.Join(g.target, rel), Writable: writable}); err == nil && inside && !g.v.Spec.Mounted(m.Target) {
		g.v.Spec.Mounts = append(g.v.Spec.Mounts, m)
	}
}

// link is a path with symbolic links in it and where they led.
type link struct{ path, real string }

func (l link) changed() bool {
	real, _ := filepath.EvalSymlinks(l.path)
	return real != l.real
}

// Appeared lists the files that the host's own tools run or obey and that came
// into a writable project since Resolve, or lead somewhere else now. It looks at a
// fixed list of names, not at the tree.
func (v *View) Appeared() []string {
	var found []string
	for _, p := range v.absent {
		if _, err := os.Lstat(p); err == nil && !coveredBy(found, p) {
			found = append(found, p)
		}
	}
	for _, l := range v.links {
		if l.changed() && !coveredBy(found, l.path) {
			found = append(found, l.path)
		}
	}
	return found
}

func coveredBy(dirs []string, p string) bool {
	for _, d := range dirs {
		if sandbox.Within(p, d) {
			return true
		}
	}
	return false
}

func isRealDir(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.IsDir()
}

// gitRoot is the nearest directory at or above dir with a .git, below home.
func gitRoot(dir string, h Host) string {
	for d := dir; d != filepath.Dir(d) && !slices.Contains(h.homes, d); d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil && unfit(d, h) == "" {
			return d
		}
	}
	return dir
}
