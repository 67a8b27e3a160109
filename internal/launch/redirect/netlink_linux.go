package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// native is the byte order of netlink headers and of routing attributes.
var native = binary.NativeEndian

// messages are netlink messages (netlink(7)) to be sent at once. what[i] says in
// words what the message with sequence number i+1 does.
type messages struct {
	buf  []byte
	what []string
	acks int
	open int // where the message under way begins
}

// begin starts a message. The attributes follow, then done.
func (m *messages) begin(what string, typ, flags uint16, header ...byte) {
	m.open = len(m.buf)
	m.what = append(m.what, what)
	if flags&unix.NLM_F_ACK != 0 {
		m.acks++
	}
	m.buf = native.AppendUint32(m.buf, 0) // length, set by done
	m.buf = native.AppendUint16(m.buf, typ)
	m.buf = native.AppendUint16(m.buf, flags|unix.NLM_F_REQUEST)
	m.buf = native.AppendUint32(m.buf, uint32(len(m.what)))
	m.buf = native.AppendUint32(m.buf, 0) // port: the kernel fills in the socket's
	m.buf = append(m.buf, header...)
}

func (m *messages) done() { native.PutUint32(m.buf[m.open:], uint32(len(m.buf)-m.open)) }

// attr adds an attribute, padded to four bytes.
func (m *messages) attr(typ uint16, data ...byte) {
	m.buf = native.AppendUint16(m.buf, uint16(unix.NLA_HDRLEN+len(data)))
	m.buf = native.AppendUint16(m.buf, typ)
	m.buf = append(m.buf, data...)
	for len(m.buf)%unix.NLA_ALIGNTO != 0 {
		m.buf = append(m.buf, 0)
	}
}

// nest adds an attribute that holds what fill adds.
func (m *messages) nest(typ uint16, fill func()) {
	at := len(m.buf)
	m.attr(typ | unix.NLA_F_NESTED)
	fill()
	native.PutUint16(m.buf[at:], uint16(len(m.buf)-at))
}

func (m *messages) text(typ uint16, s string) { m.attr(typ, append([]byte(s), 0)...) }

// be32 adds a number as nf_tables wants it: big-endian.
func (m *messages) be32(typ uint16, v uint32) {
	m.attr(typ, binary.BigEndian.AppendUint32(nil, v)...)
}

// order sends messages and reads the kernel's answers. The kernel has acted, and
// has answered, by the time it returns from the sending.
func order(socket *os.File, m *messages) error {
	fd := int(socket.Fd())
	// With an explicit address the kernel asks for the rights of who sends; without
	// one also for those of who made the socket, and that is a process inside.
	if err := unix.Sendto(fd, m.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("%s: %w", m.what[0], err)
	}
	buf := make([]byte, 64<<10)
	for got := 0; got < m.acks; {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read the kernel's answer: %w", err)
		}
		acks, err := m.answers(buf[:n])
		if err != nil {
			return err
		}
		got += acks
	}
	return nil
}

// answers counts the acknowledgements in what the kernel sent; the first refusal
// is the error.
func (m *messages) answers(b []byte) (acks int, err error) {
	for len(b) >= unix.NLMSG_HDRLEN {
		length := int(native.Uint32(b))
		if length < unix.NLMSG_HDRLEN+4 || length > len(b) {
			break
		}
		typ, seq := native.Uint16(b[4:]), native.Uint32(b[8:])
		if typ != unix.NLMSG_ERROR {
			return acks, fmt.Errorf("the kernel answered with a message of type %d", typ)
		}
		if errno := -int32(native.Uint32(b[unix.NLMSG_HDRLEN:])); errno != 0 {
			return acks, fmt.Errorf("%s: %w", m.does(seq), unix.Errno(errno))
		}
		acks++
		b = b[min((length+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		return acks, errors.New("the kernel's answer is not whole")
	}
	return acks, nil
}

func (m *messages) does(seq uint32) string {
	if seq == 0 || int(seq) > len(m.what) {
		return "netlink"
	}
	return m.what[seq-1]
}
