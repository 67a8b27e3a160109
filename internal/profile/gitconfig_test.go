package profile

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asGit is what git itself reads in a configuration file, as "name\nvalue"; false
// where it refuses the file.
func asGit(t testing.TB, dir, text string) ([]string, bool) {
	path := filepath.Join(dir, "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "config", "-z", "--no-includes", "--file", path, "--list")
	cmd.Env = []string{"GIT_CONFIG_NOSYSTEM=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	var all []string
	for v := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if !strings.Contains(v, "\n") {
			v += "\n" // no value
		}
		if v != "\n" {
			all = append(all, v)
		}
	}
	return all, true
}

func asFirma(text string) (all []string, whole bool) {
	whole = gitSettings(text, func(section, name, value string) {
		if section != "" {
			name = section + "." + name
		}
		all = append(all, name+"\n"+value)
	})
	return all, whole
}

var gitConfigs = []string{
	"", "[core]\n\thooksPath = scripts/hooks ; why\n", "[core]hooksPath=a#b", "[core]\nhooksPath = \"a b\"c \n", "[core]\nhooksPath = a\\\nb\n", "[core]\nhooksPath = \"a\\\n b # c\"\n",
	"[core]\r\nhooksPath = a\r\n", "[includeIf \"gitdir:/a]b/\"]\npath = x\n", "[includeif\t\"a\\\"b\\\\c\"] path=\" x \"\n", "[Include]\nPATH\n[core] ; c\nhooksPath =\n", "\ufeff[core]\nbare\n",
	"# [core]\n[user]\nhooksPath = x\n", "[core]\nhooksPath = \\t\\\"\\n\n", "[core]\nhooks_path = x\n", "[core\n]\na=b\n", "[a.B \"C\"]\nd = e\n", "[core]\nhooksPath = \"a\nb\"\n", "[core]\na = b \"\" \n", "[a]\nb = \"\\q\"\n", "[a]\nb=c\\", "[]\na=b", "[a]b", "[ \"\"]\nd", "[a]b=c\r\r\\", "[a]b = c \\\n \\\n",
}

// sameSettings leaves out of account that git before 2.45 reads every blank that is
// not quoted as a space: firma looks at both readings (gitPath.add).
func sameSettings(a, b []string) bool {
	blank := strings.NewReplacer("\t", " ", "\r", " ")
	return slices.EqualFunc(a, b, func(x, y string) bool { return blank.Replace(x) == blank.Replace(y) })
}

// TestGitSettings: the file is read as git reads it.
func TestGitSettings(t *testing.T) {
	needGit(t)
	for _, text := range gitConfigs {
		want, ok := asGit(t, t.TempDir(), text)
		got, whole := asFirma(text)
		if ok && (!whole || !sameSettings(got, want)) {
			t.Errorf("%q: %q, git reads %q", text, got, want)
		}
	}
}

// FuzzGitSettings: whatever a file holds that git accepts, git's is the reading. A
// path that only git sees would be one that the agent may write and the host runs.
func FuzzGitSettings(f *testing.F) {
	needGit(f)
	for _, text := range gitConfigs {
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		got, whole := asFirma(text)
		if strings.Contains(text, "\x00") {
			return // git's strings end there
		}
		want, ok := asGit(t, dir, text)
		if ok && (!whole || !sameSettings(got, want)) {
			t.Fatalf("%q, git reads %q", got, want)
		}
	})
}

func needGit(t testing.TB) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("this test needs git (apt-get install git)")
	}
}
