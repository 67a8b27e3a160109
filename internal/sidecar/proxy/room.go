package proxy

import "net"

// What the kernel holds for connections is bounded for the whole host (tcp(7), tcp_mem),
// and a connection that is not read from may take megabytes of it. Few connections of a
// session may: that is how much flows fast. The more there are, the less each gets.
const (
	roomyConns = 64       // have all the room that the kernel gives
	sharedRoom = 64 << 20 // bytes
	leastRoom  = 64 << 10
)

// roomFor returns how many bytes the kernel may hold for the nth connection of a session,
// in each direction and on each side; 0 leaves it to the kernel.
func roomFor(n int) int {
	if n <= roomyConns {
		return 0
	}
	return max(sharedRoom/n, leastRoom)
}

func bound(nc net.Conn, room int) {
	if room == 0 {
		return
	}
	if b, ok := under(nc).(interface{ Bound(bytes int) error }); ok {
		_ = b.Bound(room) // of no other use to the connection
	}
}
