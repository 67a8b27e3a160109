package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

var privilegeTechniques = map[string]technique{
	"capset":      raiseCapabilities,
	"setuid":      becomeRoot,
	"setuid-exec": setuidExec,
	"euid":        effective,
	"hostname":    setHostname,
	"addr-add":    addAddress,
	"no-new-priv": clearNoNewPrivs,
	"bind-low":    bindLow,
	"nice":        raisePriority,
	"securebits":  setSecurebits,
}

// raiseCapabilities asks for every capability.
func raiseCapabilities([]string) (string, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	full := [2]unix.CapUserData{}
	for i := range full {
		full[i] = unix.CapUserData{Effective: 1<<9 - 1, Permitted: 1<<9 - 1}
	}
	full[1] = unix.CapUserData{}
	return "", unix.Capset(&hdr, &full[0])
}

func becomeRoot([]string) (string, error) {
	runtime.LockOSThread()
	if os.Getuid() == 0 {
		return "", errors.New("already uid 0 in this namespace")
	}
	return "", unix.Setuid(0)
}

// setuidExec is PATH: run a set-user-id copy of this program and ask who it is.
func setuidExec(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	out, err := exec.Command(args[0], "euid").Output()
	if err != nil {
		return "", err
	}
	return judgeChild(out)
}

// effective succeeds when the effective user is not the real one.
func effective([]string) (string, error) {
	who := fmt.Sprintf("real %d effective %d", os.Getuid(), os.Geteuid())
	if os.Getuid() == os.Geteuid() {
		return "", &no{who}
	}
	return who, nil
}

func setHostname([]string) (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return "", unix.Sethostname([]byte(name))
}

// addAddress is ADDRESS: add it to the loopback device by netlink, and take it
// away again.
func addAddress(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	if err := address4(args[0], unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL); err != nil {
		return "", err
	}
	return "the interface is ours", address4(args[0], unix.RTM_DELADDR, 0)
}

func address4(addr string, kind, flags uint16) error {
	ip := net.ParseIP(addr).To4()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// nlmsghdr, ifaddrmsg, one IFA_LOCAL attribute (rtnetlink(7)).
	m := make([]byte, 32)
	binary.NativeEndian.PutUint32(m, 32)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	m[16], m[17] = unix.AF_INET, 32
	binary.NativeEndian.PutUint32(m[20:], 1)
	binary.NativeEndian.PutUint16(m[24:], 8)
	binary.NativeEndian.PutUint16(m[26:], unix.IFA_LOCAL)
	copy(m[28:], ip)
	if err := unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil || n < 20 {
		return errors.Join(err, errors.New("no netlink answer"))
	}
	if code := int32(binary.NativeEndian.Uint32(buf[16:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

func clearNoNewPrivs([]string) (string, error) {
	on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return "", err
	}
	if on == 0 {
		return "it was never set", nil
	}
	return "", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
}

// bindLow is ADDR: take a low port of the loopback device.
func bindLow(args []string) (string, error) {
	if len(args) != 1 {
		return "", errUsage
	}
	family, to, err := sockaddr(args[0])
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return "", unix.Bind(fd, to)
}

func raisePriority([]string) (string, error) {
	return "", unix.Setpriority(unix.PRIO_PROCESS, 0, -5)
}

func setSecurebits([]string) (string, error) {
	return "", unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0)
}

// statusFields reads the lines of /proc/self/status that say what this process
// may do.
func statusFields() map[string]string {
	data, _ := os.ReadFile("/proc/self/status")
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}
