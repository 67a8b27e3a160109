package conformance

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// frame is one frame as it is on the wire, right or wrong.
type frame struct {
	first   byte // FIN, reserved bits, opcode
	payload string
	// What makes it wrong:
	mask   masking
	length lengthForm
}

type masking byte

const (
	asMustBe masking = iota
	asMustNot
)

// lengthForm is how the length is written.
type lengthForm byte

const (
	shortest lengthForm = iota
	in16                // in two bytes, whatever it is
	in64                // in eight
	topBit              // in eight, with the most significant bit
)

const (
	fin   = 0x80
	rsv1  = 0x40
	rsv2  = 0x20
	rsv3  = 0x10
	cont  = 0x0
	text  = 0x1
	bin   = 0x2
	clos  = 0x8
	ping  = 0x9
	pong  = 0xa
	byAll = 0x80 // the mask bit
)

func txt(s string) frame             { return frame{first: fin | text, payload: s} }
func bytesOf(s string) frame         { return frame{first: fin | bin, payload: s} }
func raw(first byte, s string) frame { return frame{first: first, payload: s} }

func closing(code int, reason string) frame {
	return frame{first: fin | clos, payload: string([]byte{byte(code >> 8), byte(code)}) + reason}
}

// key masks as a client must; which key that is, is nobody's business.
var key = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// wire is the frame as a client sends it, or a server.
func (f frame) wire(client bool) []byte {
	masked := client != (f.mask == asMustNot)
	bit := byte(0)
	if masked {
		bit = byAll
	}
	b := []byte{f.first}
	switch n := len(f.payload); {
	case f.length == topBit:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), 1<<63|uint64(n))
	case f.length == in64 || f.length == shortest && n > 0xffff:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	case f.length == in16 || n > 125:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = append(b, bit|byte(n))
	}
	if !masked {
		return append(b, f.payload...)
	}
	b = append(b, key[:]...)
	at := len(b)
	b = append(b, f.payload...)
	mask(b[at:], key[:])
	return b
}

// mask masks, or unmasks, p.
func mask(p, key []byte) {
	block := bytes.Repeat(key, min(1024, len(p)/4+1))
	for len(p) > 0 {
		p = p[subtle.XORBytes(p, p, block):]
	}
}

// header is how much of the wire form is no payload.
func (f frame) header(client bool) int { return len(f.wire(client)) - len(f.payload) }

func wireOf(frames []frame, client bool) []byte {
	size := 0
	for _, f := range frames {
		size += 14 + len(f.payload)
	}
	b := make([]byte, 0, size)
	for _, f := range frames {
		b = append(b, f.wire(client)...)
	}
	return b
}

// readFrame reads one frame, whoever sends it, with what is a header and what is
// payload told apart and the payload unmasked. It judges nothing.
func readFrame(r *bufio.Reader) (f frame, masked bool, err error) {
	var head [14]byte
	if _, err = io.ReadFull(r, head[:2]); err != nil {
		return f, false, err
	}
	n, at := uint64(head[1]&^byAll), 2
	switch n {
	case 126:
		at = 4
	case 127:
		at = 10
	}
	if masked = head[1]&byAll != 0; masked {
		at += 4
	}
	if _, err = io.ReadFull(r, head[2:at]); err != nil {
		return f, masked, io.ErrUnexpectedEOF
	}
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		n = binary.BigEndian.Uint64(head[2:])
	}
	if n > 1<<26 {
		return f, masked, fmt.Errorf("a frame of %d bytes", n)
	}
	p := make([]byte, n)
	if _, err = io.ReadFull(r, p); err != nil {
		return f, masked, io.ErrUnexpectedEOF
	}
	if masked {
		mask(p, head[at-4:at])
	}
	return frame{first: head[0], payload: string(p)}, masked, nil
}

// code is that of a Close frame; 0 for one without.
func (f frame) code() int {
	if len(f.payload) < 2 {
		return 0
	}
	return int(f.payload[0])<<8 | int(f.payload[1])
}

func (f frame) String() string {
	p := f.payload
	if len(p) > 20 {
		p = fmt.Sprintf("%s… (%d bytes)", p[:20], len(p))
	}
	return fmt.Sprintf("%02x %q", f.first, p)
}

func frames(list []frame) string {
	var parts []string
	for i, f := range list {
		if i == 8 {
			parts = append(parts, fmt.Sprintf("… %d in all", len(list)))
			break
		}
		parts = append(parts, f.String())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
