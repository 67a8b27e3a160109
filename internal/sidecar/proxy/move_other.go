//go:build !linux

package proxy

import (
	"net"
	"sync/atomic"
)

func move(dst, src net.Conn, moved *atomic.Int64) (int64, error) { return copyAll(dst, src, moved) }
