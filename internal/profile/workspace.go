package profile

import (
	"os"
	"path/filepath"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// hostRuns are the files of a project that the host's own tools execute or obey
// later: git hooks and configuration, editors, shells, agents. The agent may read
// them. Only those that exist can be guarded without creating anything in the
// workspace; docs/status.md says so.
var hostRuns = []string{
	".git/hooks", ".git/config", ".git/info", ".git/modules", ".git/config.worktree",
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
	v.guard(root)
	return nil
}

// guard makes hostRuns read-only. .git becomes a mount point of its own, so that
// it can't be renamed away and replaced.
func (v *View) guard(root string) {
	if git := filepath.Join(root, ".git"); isRealDir(git) {
		v.show(git, true)
	}
	for _, p := range hostRuns {
		full := filepath.Join(root, p)
		if _, err := os.Lstat(full); err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(full); err != nil || real != full {
			continue // a link is guarded where it points, if that is in the workspace
		}
		v.Spec.Mounts = append(v.Spec.Mounts, sandbox.Mount{Source: full, Target: full})
	}
}

func isRealDir(p string) bool {
	st, err := os.Lstat(p)
	return err == nil && st.IsDir()
}

// gitRoot is the nearest directory at or above dir with a .git, below home.
func gitRoot(dir string, h Host) string {
	for d := dir; d != "/" && d != h.Home; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil && unfit(d, h) == "" {
			return d
		}
	}
	return dir
}
