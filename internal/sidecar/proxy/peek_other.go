//go:build !linux

package proxy

import "net"

// peek can't look into a connection here.
func peek(net.Conn) (first byte, known bool) { return 0, false }
