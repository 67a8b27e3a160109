package escape

import (
	"os"
	"strings"
	"testing"
)

func codex(*yard) []string { return []string{"--profile", "codex"} }

// absentAtLaunch are files that the host's tools run or obey and that the fixture
// project lacks. docs/status.md says that they can be made.
var absentAtLaunch = []string{
	".git/commondir", ".git/config.worktree", ".git/modules/x/hooks/post-checkout", ".git/worktrees/x/config.worktree",
	".claude/settings.json", ".mcp.json", ".envrc", ".devcontainer.json", ".husky/pre-commit",
}

// mustBeNamed: what could not be prevented is told to the operator.
func mustBeNamed(t *testing.T, y *yard, r *ran, paths []string) {
	t.Helper()
	for _, p := range paths {
		first := strings.Join(strings.Split(p, "/")[:min(2, strings.Count(p, "/")+1)], "/")
		if !strings.HasPrefix(p, ".git/") {
			first, _, _ = strings.Cut(p, "/")
		}
		if !strings.Contains(r.Stderr, y.in(first)) {
			t.Errorf("ESCAPED     the agent made %s and the run does not say so: %s", p, r.Stderr)
		}
	}
}

// C, in a workspace that the agent may write: what the host's tools execute or
// obey later stays out of its hands.
var workspaceCases = []kase{
	{
		id: "C3", about: "links left for a trusted program to follow", flags: codex,
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, name := range []string{"report", "firma.log", "audit.jsonl", ".firma-tmp"} {
				all = append(all, try("symlink", y.home(".ssh/id_ed25519"), y.in(name)).limited("the workspace is the agent's to write"))
			}
			return all
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			data, err := os.ReadFile(y.home(".ssh/id_ed25519"))
			must(t, err)
			st, err := os.Lstat(y.home(".ssh/id_ed25519"))
			must(t, err)
			if len(data) == 0 || st.Mode().Perm() != 0o600 {
				t.Errorf("ESCAPED     firma followed a link: %d bytes, mode %v", len(data), st.Mode())
			}
		},
	},
	{
		id: "C7", about: "files that the host runs or obeys, which do not exist yet", flags: codex,
		tries: func(y *yard) []attempt {
			all := []attempt{
				try("hook", y.in(".git/hooks/pre-commit")), try("hook", y.in(".git/hooks/post-checkout")),
				try("hook", y.in(".vscode/settings.json")),
			}
			for _, p := range absentAtLaunch {
				all = append(all, try("hook", y.in(p)).limited("only those that exist are guarded; the others are named at the end"))
			}
			return all
		},
		check: func(t *testing.T, y *yard, r *ran) { mustBeNamed(t, y, r, absentAtLaunch) },
	},
	{
		id: "C7-no-git", about: "a repository made where there was none", flags: codex,
		prepare: func(t *testing.T, y *yard) { must(t, os.RemoveAll(y.in(".git"))) },
		tries: func(y *yard) []attempt {
			const named = "a repository can be made; it is named at the end"
			return []attempt{try("hook", y.in(".git/hooks/pre-commit")).limited(named), try("hook", y.in(".git/config")).limited(named)}
		},
		check: func(t *testing.T, y *yard, r *ran) { mustBeNamed(t, y, r, []string{".git"}) },
	},
	{
		id: "C9", about: "protected paths renamed, exchanged, removed or shadowed", flags: codex,
		tries: func(y *yard) []attempt {
			return []attempt{
				try("append", y.in(".git/config")), try("mmap-write", y.in(".git/config")), try("truncate", y.in(".git/config")), try("chmod", y.in(".git/config")),
				try("chmod", y.in(".git/hooks/sample")), try("append", y.in(".git/hooks/sample")),
				try("append", y.in(".vscode/tasks.json")),
				try("rename", y.in("src/main.c"), y.in(".git/config")),
				try("exchange", y.in("README"), y.in(".git/config")),
				try("rename", y.in(".git/hooks"), y.in(".git/h2")),
				try("exchange", y.in("other"), y.in(".git")),
				try("rename", y.in(".git"), y.in("g2")),
				try("unlink", y.in("g2/config")).noControl("what the rename above leaves"),
				try("hook", y.in(".git/hooks/pre-commit")).noControl("see C7"),
				try("rename", y.Project, y.Project+"2").noControl("would take the fixtures away"),
			}
		},
	},
	{
		id: "C13-workspace", about: "the workspace is all that can be written", flags: codex,
		tries: func(y *yard) []attempt {
			return []attempt{
				try("create", y.home("new")).expect(contained), try("append", y.home("canary.txt")), try("read", y.home("canary.txt")),
				try("symlink-write", y.Home, "/tmp/l", "pwn").instead("symlink-write", y.Home, y.Tmp+"/l", "pwn").expect(contained),
				try("link-read", y.home("canary.txt"), y.in("h")),
				try("unix", y.inside, "token"), try("unix-pair", y.dgram, "token"), try("unix-dgram", y.dgram, "token"),
				try("setuid-exec", y.in("setuid")).noControl("see B9"),
				try("mknod", y.in("node"), "1", "1").rootOnly(),
			}
		},
	},
}
