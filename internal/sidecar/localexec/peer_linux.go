package localexec

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is the process that opened a connection, as the kernel wrote it down then
// (unix(7), SO_PEERCRED). PID is 0 for one in a namespace that can't be seen.
type Peer struct{ PID, UID int }

// peerOf returns the other side of conn. It is an error unless that is this
// process's user, or root.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var serr error
	if err := raw.Control(func(fd uintptr) {
		cred, serr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || serr != nil {
		return Peer{}, errors.Join(err, serr)
	}
	p := Peer{PID: int(cred.Pid), UID: int(cred.Uid)}
	if p.UID != os.Geteuid() && p.UID != 0 {
		return p, fmt.Errorf("the caller is uid %d, this gate is uid %d's", p.UID, os.Geteuid())
	}
	return p, nil
}

// outside is an error unless the process shares this one's user and pid
// namespaces, which no sandboxed process does. It is a second lock: the uid of an
// agent is its operator's. A process that can't be looked at is refused.
func (p Peer) outside() error {
	for _, ns := range []string{"user", "pid"} {
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return err
		}
		theirs, err := os.Readlink("/proc/" + strconv.Itoa(p.PID) + "/ns/" + ns)
		if err != nil {
			return fmt.Errorf("the caller's %s namespace can't be seen: %w", ns, err)
		}
		if ours != theirs {
			return fmt.Errorf("the caller is in another %s namespace: approvals come from outside of sandboxes", ns)
		}
	}
	return nil
}

func ownedByUs(info fs.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return errors.New("the directory " + info.Name() + " belongs to another user")
	}
	return nil
}
