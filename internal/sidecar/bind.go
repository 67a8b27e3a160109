//go:build unix

package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"firma/internal/control"
	"firma/internal/fault"
)

// bind listens at e. A socket that a Sidecar left behind is replaced, one that
// somebody serves is not.
func bind(e control.Endpoint) (net.Listener, error) {
	if e.Network != "unix" {
		// The accepted sockets inherit it; set one by one it would be four calls each.
		cfg := net.ListenConfig{KeepAlive: -1, Control: keepAlive}
		cfg.SetMultipathTCP(false) // Go's default, to which many kernels refuse these options
		ln, err := cfg.Listen(context.Background(), "tcp", e.Address)
		return ln, cannotListen(e.Address, "listen_addr", err)
	}
	if err := os.MkdirAll(filepath.Dir(e.Address), 0o700); err != nil {
		return nil, cannotListen(e.Address, "socket_path", err)
	}
	if err := clear(e.Address); err != nil {
		return nil, cannotListen(e.Address, "socket_path", err)
	}
	// The mode keeps others out before the kernel is asked who they are.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", e.Address)
	syscall.Umask(old)
	return ln, cannotListen(e.Address, "socket_path", err)
}

// clear removes a socket that nobody listens on.
func clear(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("the path is in use by something that is not a socket")
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return syscall.EADDRINUSE
	}
	return os.Remove(path)
}

func cannotListen(where, key string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, "SidecarListenFailed", "the Sidecar can't listen on "+where,
		"stop what uses it, or set another "+key+" in [sidecar.interceptor]")
}
