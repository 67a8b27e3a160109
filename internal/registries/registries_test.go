package registries

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine is a host made of temporary directories: fake clients on PATH, a home,
// a system root and a cache.
type machine struct {
	t                      *testing.T
	bin, home, root, cache string
	env                    []string
	log                    bytes.Buffer
	now                    time.Time
	timeout                time.Duration
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("fake clients are shell scripts")
	}
	dir := t.TempDir()
	m := &machine{t: t, bin: dir + "/bin", home: dir + "/home", root: dir + "/root", cache: dir + "/cache"}
	m.now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	m.timeout = time.Minute
	for _, d := range []string{m.bin, m.home, m.root} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) options() Options {
	env := append([]string{"PATH=" + m.bin + ":/usr/bin:/bin", "HOME=" + m.home}, m.env...)
	// /usr/bin serves the scripts' own needs; a client there must not answer.
	return Options{CacheDir: m.cache, Home: m.home, Env: env, Log: slog.New(slog.NewTextHandler(&m.log, nil)),
		root: m.root, now: func() time.Time { return m.now }, timeout: m.timeout}
}

func (m *machine) discover() []Registry {
	m.t.Helper()
	got, err := Discover(context.Background(), m.options())
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		m.t.Fatal(err)
	}
}

// client puts a fake client on PATH that counts its calls in bin/NAME.calls.
func (m *machine) client(name, body string) {
	script := fmt.Sprintf("#!/bin/sh\necho call >>%s/%s.calls\n%s\n", m.bin, name, body)
	m.write(m.bin+"/"+name, script, 0o755)
}

func (m *machine) calls(name string) int {
	data, _ := os.ReadFile(m.bin + "/" + name + ".calls")
	return strings.Count(string(data), "call")
}

// fakes installs clients that answer, so that the real ones of the test machine
// never do.
func (m *machine) fakes() {
	m.client("npm", `echo '{"registry":"https://npm.corp.test/","@acme:registry":"https://user:secret@acme.corp.test:8443/x"}'`)
	m.client("go", `echo '{"GOPROXY":"https://go.corp.test|direct","GOSUMDB":"sum.corp.test"}'`)
}

func TestDiscoverAsksEveryClient(t *testing.T) {
	m := newMachine(t)
	m.fakes()
	m.write(m.root+"/etc/apt/sources.list", "deb [arch=amd64 signed-by=/x y] http://deb.corp.test/debian bookworm main\n# deb http://old.test/ x y\n", 0o644)
	m.write(m.root+"/etc/apt/sources.list.d/a.sources",
		"Types: deb\nURIs: https://one.corp.test/d\n http://TWO.corp.test:8080/d\nSuites: s\n\nEnabled: no\nURIs: http://off.test/\n", 0o644)
	m.write(m.home+"/.config/pip/pip.conf", "[global]\nindex-url = https://pip.corp.test/simple\n", 0o644)
	m.write(m.home+"/.cargo/config.toml", "[registries.acme]\nindex = 'sparse+https://cargo.corp.test/index/'\n[source.x]\nregistry='https://mirror.corp.test/'\n", 0o644)
	want := []Registry{
		{"cargo", "cargo.corp.test"}, {"cargo", "mirror.corp.test"},
		{"debian", "deb.corp.test"}, {"debian", "one.corp.test"}, {"debian", "two.corp.test:8080"},
		{"go", "go.corp.test"}, {"go", "sum.corp.test"},
		{"npm", "acme.corp.test:8443"}, {"npm", "npm.corp.test"},
		{"pip", "pip.corp.test"},
	}
	if diff := cmp.Diff(want, m.discover()); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
	if strings.Contains(m.log.String(), "secret") {
		t.Errorf("a password reached the log:\n%s", m.log.String())
	}
}

func TestDiscoverNamesNothingOfItsOwn(t *testing.T) {
	m := newMachine(t)
	o := m.options()
	o.Env = []string{"PATH=" + m.bin}
	got, err := Discover(context.Background(), o)
	if err != nil || len(got) != 0 {
		t.Errorf("a host without clients or configuration has registries %v, error %v", got, err)
	}
}

func TestSecondCallRunsNoClient(t *testing.T) {
	m := newMachine(t)
	m.fakes()
	first := m.discover()
	if diff := cmp.Diff(first, m.discover()); diff != "" {
		t.Errorf("cached answer differs (-first +second):\n%s", diff)
	}
	if n, g := m.calls("npm"), m.calls("go"); n != 1 || g != 1 {
		t.Errorf("clients ran npm %d, go %d times; want 1 each", n, g)
	}
	if st, err := os.Stat(m.cache + "/registries.json"); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("cache file: %v, %v; want mode 0600", st, err)
	}
}

func TestAnyChangeAsksAgain(t *testing.T) {
	changes := map[string]func(m *machine){
		"user npmrc":       func(m *machine) { m.write(m.home+"/.npmrc", "registry=x\n", 0o600) },
		"global npmrc":     func(m *machine) { m.write(filepath.Dir(m.bin)+"/etc/npmrc", "registry=x\n", 0o644) },
		"npm variable":     func(m *machine) { m.env = append(m.env, "npm_config_registry=https://n.test") },
		"NPM variable":     func(m *machine) { m.env = append(m.env, "NPM_CONFIG_REGISTRY=https://n.test") },
		"go variable":      func(m *machine) { m.env = append(m.env, "GOPROXY=https://g.test") },
		"go env file":      func(m *machine) { m.write(m.home+"/.config/go/env", "GOPROXY=x\n", 0o644) },
		"apt source":       func(m *machine) { m.write(m.root+"/etc/apt/sources.list.d/b.list", "", 0o644) },
		"pip.conf":         func(m *machine) { m.write(m.root+"/etc/pip.conf", "", 0o644) },
		"cargo config":     func(m *machine) { m.write(m.home+"/.cargo/config.toml", "", 0o644) },
		"client replaced":  func(m *machine) { m.client("npm", `echo '{"registry":"https://other.corp.test/"}'`) },
		"client elsewhere": func(m *machine) { m.env = append(m.env, "PATH="+m.bin+":"+m.bin) },
		"a day later":      func(m *machine) { m.now = m.now.Add(25 * time.Hour) },
		"clock set back":   func(m *machine) { m.now = m.now.Add(-time.Hour) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.fakes()
			m.discover()
			if name == "client elsewhere" {
				other := filepath.Dir(m.bin) + "/other"
				if err := os.Rename(m.bin, other); err != nil {
					t.Fatal(err)
				}
				m.bin = other
				m.fakes()
			}
			change(m)
			m.discover()
			if n := m.calls("npm"); n != 2 {
				t.Errorf("npm ran %d times after the change, want 2", n)
			}
		})
	}
}

func TestProjectFilesDoNotCount(t *testing.T) {
	m := newMachine(t)
	// The client answers from its current directory, as npm does.
	m.client("npm", `if [ -e .npmrc ]; then echo '{"registry":"https://planted.test/"}'; else echo '{}'; fi`)
	m.client("go", `test "$PWD" = / && test "$(pwd)" = / && echo '{"GOPROXY":"off"}'`)
	project := t.TempDir()
	m.write(project+"/.npmrc", "registry=https://planted.test/\n", 0o644)
	t.Chdir(project)
	m.env = []string{"npm_config_local_prefix=" + project, "PWD=" + project}
	if got := m.discover(); len(got) != 0 {
		t.Errorf("a project's file named %v", got)
	}
	if strings.Contains(m.log.String(), "not asked") {
		t.Errorf("clients did not run in the neutral directory:\n%s", m.log.String())
	}
}

func TestRelativePathEntriesDoNotCount(t *testing.T) {
	m := newMachine(t)
	project := t.TempDir()
	t.Chdir(project)
	m.write(project+"/npm", "#!/bin/sh\necho '{\"registry\":\"https://planted.test/\"}'\n", 0o755)
	o := m.options()
	o.Env = []string{"PATH=.::" + m.bin}
	got, err := Discover(context.Background(), o)
	if err != nil || len(got) != 0 {
		t.Errorf("a client in the current directory named %v, error %v", got, err)
	}
}

func TestFailedClientIsAbsentAndAskedAgainSoon(t *testing.T) {
	for name, body := range map[string]string{
		"exits 1":        "exit 1",
		"prints rubbish": "echo not json",
		"prints forever": "exec cat /dev/zero",
		"hangs":          "exec sleep 1000",
		"leaves a child": "sleep 1000 & exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.fakes()
			m.client("npm", body)
			if name == "hangs" {
				m.timeout = 300 * time.Millisecond
			}
			got := m.discover()
			// A short timeout may cost the other client its answer too.
			want := []Registry{{"go", "go.corp.test"}, {"go", "sum.corp.test"}}
			if diff := cmp.Diff(want, got); diff != "" && name != "hangs" {
				t.Errorf("registries (-want +got):\n%s", diff)
			}
			if slices.ContainsFunc(got, func(r Registry) bool { return r.Client == "npm" }) {
				t.Errorf("a client that failed named %v", got)
			}
			if !strings.Contains(m.log.String(), "client=npm") {
				t.Errorf("the failure is not in the log:\n%s", m.log.String())
			}
			m.discover()
			if n := m.calls("npm"); n != 1 {
				t.Errorf("npm ran %d times at once after failing, want 1", n)
			}
			m.now = m.now.Add(11 * time.Minute)
			m.discover()
			if n := m.calls("npm"); n != 2 {
				t.Errorf("npm ran %d times eleven minutes after failing, want 2", n)
			}
		})
	}
}

func TestCancelledCallKeepsNothing(t *testing.T) {
	m := newMachine(t)
	m.client("npm", "exec sleep 1000")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Discover(ctx, m.options()); err != context.Canceled {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(m.cache + "/registries.json"); !os.IsNotExist(err) {
		t.Errorf("a cancelled call wrote a cache: %v", err)
	}
}
