package control

import (
	"errors"
	"os"
	"syscall"
)

const seqpacket = syscall.SOCK_SEQPACKET | syscall.SOCK_CLOEXEC

// WantPeerPid asks the kernel to attach the sender's pid to each message. Call it
// before the first RecvFrom.
func (c *Conn) WantPeerPid() error {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) {
		serr = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1)
	}); err != nil {
		return err
	}
	return serr
}

// RecvFrom is Recv that also returns the sender's pid as this process's pid
// namespace knows it (unix(7), SCM_CREDENTIALS), which the sender cannot forge.
func (c *Conn) RecvFrom() (Message, []*os.File, int, error) {
	m, files, cmsgs, err := c.recv(syscall.CmsgSpace(syscall.SizeofUcred))
	if err != nil {
		return m, nil, 0, err
	}
	for i := range cmsgs {
		if cr, err := syscall.ParseUnixCredentials(&cmsgs[i]); err == nil && cr.Pid > 0 {
			return m, files, int(cr.Pid), nil
		}
	}
	closeAll(files)
	return Message{}, nil, 0, errors.New("control: message without the sender's credentials")
}
