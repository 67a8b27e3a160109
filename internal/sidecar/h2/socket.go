package h2

// socket carries a WebSocket.
func (x *exchange) socket() uint32 {
	return x.failed(&bodyError{"not yet"})
}
