//go:build !linux

package proxy

import "net"

// probe can't look into a connection here; a stale one shows when it is used.
type probe struct{}

func (*probe) init(net.Conn) {}

func (*probe) quiet() bool { return true }
