package attach

import (
	"encoding/binary"
	"io"
	"net/netip"
)

// destinationLen is the length in bytes of what a Capture connection begins with.
const destinationLen = 18

// WriteDestination begins a Capture connection. Nothing of the agent's may have
// been written.
func WriteDestination(w io.Writer, to netip.AddrPort) error {
	b := to.Addr().As16()
	_, err := w.Write(binary.BigEndian.AppendUint16(b[:], to.Port()))
	return err
}

// ReadDestination reads what a Capture connection begins with, and no byte more.
func ReadDestination(r io.Reader) (netip.AddrPort, error) {
	var b [destinationLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[16:])), nil
}
