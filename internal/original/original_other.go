//go:build !linux

// Package original tells where a connection was meant to go before it was
// redirected; elsewhere than on Linux none is.
package original

import (
	"errors"
	"net/netip"
	"syscall"
)

// Destination returns an error: nothing is redirected here.
func Destination(syscall.Conn, bool) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.ErrUnsupported
}
