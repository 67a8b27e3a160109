package e2e

import (
	"bufio"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// room is a mount namespace with temporary directories of its own, so that what a
// run leaves there can be told from what other programs of this machine do
// meanwhile. Making one needs root; for an ordinary caller a room is the machine,
// and only the caller's own new files count.
type room struct {
	holder *exec.Cmd // keeps the namespace; nil without one
	before []string
	base   string
	uid    int
}

// temporary are the places where programs leave things.
var temporary = []string{"/tmp", "/var/tmp", "/dev/shm", "/run"}

// furnish gives the room its own temporary directories; the world stays where it is.
const furnish = `set -e
mount --make-rprivate /
mount --bind "$BASE" /mnt
for d in /tmp /var/tmp /dev/shm /run; do mount -t tmpfs -o mode=1777 room "$d"; done
mkdir -p "$BASE"
mount --move /mnt "$BASE"
cat /proc/self/mountinfo >/dev/null
echo ready
exec sleep 86400`

func (s *stage) newRoom(t *testing.T) *room {
	t.Helper()
	r := &room{base: s.Base, uid: s.Account.UID}
	if os.Getuid() == 0 {
		r.open(t)
	}
	r.before = r.contents(t)
	return r
}

func (r *room) open(t *testing.T) {
	t.Helper()
	r.holder = exec.Command("unshare", "-m", "sh", "-c", furnish)
	r.holder.Env = []string{"BASE=" + r.base, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	r.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.holder.Stderr = os.Stderr
	out, err := r.holder.StdoutPipe()
	must(t, err)
	must(t, r.holder.Start())
	t.Cleanup(func() { _ = r.holder.Process.Kill(); _ = r.holder.Wait() })
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal("the room could not be furnished (apt-get install util-linux)")
	}
}

// enter is the command that runs args in the room, in dir, as the stage's account.
func (r *room) enter(s *stage, dir string, args []string) []string {
	if r.holder == nil {
		return args
	}
	in := []string{"/usr/bin/nsenter", "-m", "-t", strconv.Itoa(r.holder.Process.Pid), "/usr/bin/env", "-C", dir, "--"}
	if s.Account.Ordinary() {
		id, group := strconv.Itoa(s.Account.UID), strconv.Itoa(s.Account.GID)
		in = append(in, "/usr/bin/setpriv", "--reuid", id, "--regid", group, "--clear-groups")
	}
	return append(in, args...)
}

// path is where a path of the room is on the host.
func (r *room) path(path string) string {
	if r.holder == nil {
		return path
	}
	return "/proc/" + strconv.Itoa(r.holder.Process.Pid) + "/root" + path
}

// asRoot lets cmd start as the tests' own user: enter changes it.
func (r *room) asRoot(cmd *exec.Cmd) {
	if r.holder != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
}

// contents are the room's mounts and the files in its temporary directories,
// without the world itself.
func (r *room) contents(t *testing.T) []string {
	t.Helper()
	root, self := "", "self"
	if r.holder != nil {
		self = strconv.Itoa(r.holder.Process.Pid)
		root = "/proc/" + self + "/root"
	}
	table, err := os.ReadFile("/proc/" + self + "/mountinfo")
	must(t, err)
	all := strings.Split(strings.TrimSpace(string(table)), "\n")
	all = slices.DeleteFunc(all, func(mount string) bool { // other packages' tests mount on theirs meanwhile
		return strings.Contains(mount, "/firma-world-") && !strings.Contains(mount, r.base)
	})
	for _, dir := range temporary {
		all = append(all, r.files(root, dir)...)
	}
	slices.Sort(all)
	return all
}

func (r *room) files(root, dir string) []string {
	var found []string
	_ = filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root)
		if err != nil || name == dir {
			return nil // gone meanwhile
		}
		if name == r.base || r.holder == nil && !r.owns(d) {
			return skip(d)
		}
		found = append(found, name)
		return nil
	})
	return found
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return filepath.SkipDir
	}
	return nil
}

func (r *room) owns(d fs.DirEntry) bool {
	info, err := d.Info()
	return err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == r.uid && !strings.HasPrefix(d.Name(), "go-build")
}

// wantAsBefore fails when something is in the room that was not, or the other way round.
func (r *room) wantAsBefore(t *testing.T) {
	t.Helper()
	after := r.contents(t)
	for _, x := range after {
		if !slices.Contains(r.before, x) {
			t.Errorf("left behind: %s", x)
		}
	}
	for _, x := range r.before {
		if r.holder != nil && !slices.Contains(after, x) {
			t.Errorf("gone: %s", x)
		}
	}
}

// poll tries until ok, or fails at the deadline. For what can't be waited for.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := timeAfter()
	for !ok() {
		if end() {
			t.Fatalf("%s: not within %v", what, deadline)
		}
	}
}
