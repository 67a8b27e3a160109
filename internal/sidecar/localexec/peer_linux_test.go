package localexec

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	contract "firma/internal/localexec"
	"firma/internal/testkit/account"
)

// The test binary is also the caller that comes from elsewhere: it sends what
// CALLER_SAYS holds to CALLER_SOCKET and prints the answer.
func TestMain(m *testing.M) {
	if socket := os.Getenv("CALLER_SOCKET"); socket != "" {
		c, err := net.Dial("unix", socket)
		if err != nil {
			os.Stdout.WriteString("unreachable")
			os.Exit(0)
		}
		_, _ = io.WriteString(c, os.Getenv("CALLER_SAYS"))
		in, _ := io.ReadAll(c)
		os.Stdout.WriteString("answer:" + string(in))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// call runs the caller in another process, prepared by f.
func call(t *testing.T, socket, says string, f func(*exec.Cmd)) string {
	t.Helper()
	self := filepath.Join(t.TempDir(), "caller")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := filepath.Dir(self); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self)
	cmd.Dir = "/"
	cmd.Env = []string{"CALLER_SOCKET=" + socket, "CALLER_SAYS=" + says}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if f != nil {
		f(cmd)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the caller: %v", err)
	}
	return string(out)
}

const approveLine = `{"action":"local.exec.approve","token_id":"`

// TestApproverFromOutside is the control: another process of this user, like
// `firma token approve`, may.
func TestApproverFromOutside(t *testing.T) {
	y := open(t, nil)
	r := command()
	r.ApprovalToken = y.ask(r).ApprovalToken
	if out := call(t, y.cfg.Management, approveLine+r.ApprovalToken+"\"}\n", nil); !strings.Contains(out, `"outcome":"ok"`) {
		t.Fatalf("%s", out)
	}
	if a := y.ask(r); a.Decision != contract.Allow {
		t.Errorf("%+v", a)
	}
}

// TestApproverInSandbox: the same user, with the path of the socket and the token,
// from another user or pid namespace, is not heard. The attempt is on record.
func TestApproverInSandbox(t *testing.T) {
	for name, flags := range map[string]uintptr{"user namespace": syscall.CLONE_NEWUSER, "pid namespace": syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID} {
		t.Run(name, func(t *testing.T) {
			y := open(t, nil)
			r := command()
			r.ApprovalToken = y.ask(r).ApprovalToken
			out := call(t, y.cfg.Management, approveLine+r.ApprovalToken+"\"}\n", func(c *exec.Cmd) {
				c.SysProcAttr.Cloneflags = flags
				c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}}
				c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}}
			})
			if out != "answer:" {
				t.Errorf("%q", out)
			}
			if a := y.ask(r); a.Decision != contract.Pending {
				t.Errorf("afterwards: %+v", a)
			}
			told := y.log.told(t)
			if last := told[len(told)-1]; !strings.Contains(last, "DENY | (approval refused) | exec denied: the caller is in another user namespace") {
				t.Errorf("recorded %q", last)
			}
		})
	}
}

// TestOtherUser: another account is kept out by the directory; with the directory
// and the socket thrown open, by its uid.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it plays another account")
	}
	all, err := account.All()
	if err != nil {
		t.Fatal(err)
	}
	other := all[1]
	y := open(t, func(c *Config) { c.DefaultAction = contract.Allow })
	r := command()
	ask, _ := r.Line()
	for _, socket := range []string{y.cfg.Socket, y.cfg.Management} {
		if out := call(t, socket, string(ask), func(c *exec.Cmd) { other.Apply(c) }); out != "unreachable" {
			t.Errorf("%s: %q", socket, out)
		}
	}
	for _, p := range []string{filepath.Dir(y.cfg.Socket), y.cfg.Socket, y.cfg.Management} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if out := call(t, y.cfg.Socket, string(ask), nil); !strings.Contains(out, `"allow"`) {
		t.Errorf("the control: %q", out)
	}
	for _, socket := range []string{y.cfg.Socket, y.cfg.Management} {
		if out := call(t, socket, string(ask), func(c *exec.Cmd) { other.Apply(c) }); out != "answer:" {
			t.Errorf("%s, thrown open: %q", socket, out)
		}
	}
}
