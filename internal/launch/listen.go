//go:build linux

package launch

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"firma/internal/control"
	"firma/internal/fault"
)

// proxyPort and dnsPort are where the Sidecar serves the sandbox's loopback.
const (
	proxyPort = 18080
	dnsPort   = 53
	backlog   = 4096
)

// Listen binds the sandbox's proxy and resolver. The kernel checks the caller of
// bind(2) against the owner of the network namespace's user namespace, which is
// this process's user, so the low port needs no capability inside.
func Listen(socks control.Sockets) error {
	for _, s := range []struct {
		name   control.Socket
		port   int
		stream bool
	}{{control.SocketProxy, proxyPort, true}, {control.SocketDNS, dnsPort, false}, {control.SocketDNSTCP, dnsPort, true}} {
		if err := bindOne(socks[s.name], &unix.SockaddrInet4{Port: s.port, Addr: [4]byte{127, 0, 0, 1}}, s.stream); err != nil {
			return fault.Wrap(fmt.Errorf("127.0.0.1:%d: %w", s.port, err), "SandboxSetupFailed",
				"the sandbox's proxy and resolver ports could not be bound", "run `firma doctor`; this needs a user namespace owned by you")
		}
	}
	return nil
}

func bindOne(f *os.File, at unix.Sockaddr, stream bool) error {
	fd := int(f.Fd())
	if err := unix.Bind(fd, at); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if stream {
		if err := unix.Listen(fd, backlog); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	return nil
}

// LandlockABI is the version of Landlock this kernel has, 0 if none.
func LandlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

func randomKey() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}

func sessionID() string { return uuid.Must(uuid.NewV7()).String() }
