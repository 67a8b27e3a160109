package control

import (
	"fmt"
	"os"
)

// Socket names one of a sandbox's sockets.
type Socket string

// The sockets that the stub makes, unbound, in the sandbox's network namespace.
// Those of capture are missing where the kernel has no such thing; only the
// launcher knows whether they are needed.
const (
	SocketProxy     Socket = "proxy"     // TCP: 127.0.0.1:18080
	SocketDNS       Socket = "dns"       // UDP: 127.0.0.1:53
	SocketDNSTCP    Socket = "dns-tcp"   // TCP: 127.0.0.1:53
	SocketCapture   Socket = "capture"   // TCP over IPv4: redirected connections
	SocketCapture6  Socket = "capture6"  // TCP over IPv6: the same
	SocketRoute     Socket = "route"     // netlink: routing, for the launcher only
	SocketNetfilter Socket = "netfilter" // netlink: netfilter, for the launcher only
)

var needed = []Socket{SocketProxy, SocketDNS, SocketDNSTCP}

var optional = []Socket{SocketCapture, SocketCapture6, SocketRoute, SocketNetfilter}

// Sockets are the sockets of one sandbox. The files are the holder's.
type Sockets map[Socket]*os.File

// NameSockets joins the names in a message with the files that came with it. Each
// name is known and there once, and none that every sandbox has is missing;
// otherwise the files are closed.
func NameSockets(names []Socket, files []*os.File) (Sockets, error) {
	s := Sockets{}
	for i, n := range names {
		if i < len(files) && known(n) {
			s[n] = files[i]
		}
	}
	whole := len(s) == len(files) && len(s) == len(names)
	for _, n := range needed {
		whole = whole && s[n] != nil
	}
	if !whole {
		for _, f := range files {
			f.Close()
		}
		return nil, fmt.Errorf("control: %d sockets came as %q", len(files), names)
	}
	return s, nil
}

func known(s Socket) bool {
	for _, list := range [][]Socket{needed, optional} {
		for _, n := range list {
			if n == s {
				return true
			}
		}
	}
	return false
}

// Message is what hands over the named ones of s that there are, with the files
// to send along.
func (s Sockets) Message(which ...Socket) (Message, []*os.File) {
	m := Message{Kind: KindSockets}
	var files []*os.File
	for _, n := range which {
		if f := s[n]; f != nil {
			m.Sockets, files = append(m.Sockets, n), append(files, f)
		}
	}
	return m, files
}

// Close closes all of them.
func (s Sockets) Close() {
	for _, f := range s {
		f.Close()
	}
}
