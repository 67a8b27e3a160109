package h2

import "encoding/binary"

// Frame types and flags (RFC 9113, section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagEnd        = 0x1 // END_STREAM; ACK of SETTINGS and PING
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Error codes (RFC 9113, section 7).
const (
	codeNone        uint32 = 0x0
	codeProtocol    uint32 = 0x1
	codeInternal    uint32 = 0x2
	codeFlow        uint32 = 0x3
	codeClosed      uint32 = 0x5
	codeFrameSize   uint32 = 0x6
	codeRefused     uint32 = 0x7
	codeCancel      uint32 = 0x8
	codeCompression uint32 = 0x9
	codeCalm        uint32 = 0xb
	codeLast        uint32 = 0xd
)

// Settings (RFC 9113, section 6.5.2, and RFC 8441, section 3).
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4
	settingMaxFrame      = 0x5
	settingMaxHeaderList = 0x6
	settingConnect       = 0x8
)

const (
	preface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	headSize   = 9
	maxFrame   = 16 << 10 // of a payload that is read; the protocol's default
	maxWindow  = 1<<31 - 1
	idMask     = 1<<31 - 1
	defaultWin = 65535
)

type frame struct {
	kind, flags byte
	id          uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

func appendFrame(b []byte, size int, kind, flags byte, id uint32) []byte {
	b = append(b, byte(size>>16), byte(size>>8), byte(size), kind, flags)
	return binary.BigEndian.AppendUint32(b, id)
}

func appendReset(b []byte, id, code uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameReset, 0, id), code)
}

func appendWindow(b []byte, id uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(b, 4, frameWindow, 0, id), uint32(n))
}

func appendGoAway(b []byte, last, code uint32) []byte {
	b = appendFrame(b, 8, frameGoAway, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), code)
}

func appendSettings(b []byte, pairs ...[2]uint32) []byte {
	b = appendFrame(b, 6*len(pairs), frameSettings, 0, 0)
	for _, p := range pairs {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(p[0])), p[1])
	}
	return b
}

// unpad removes the padding of DATA and HEADERS.
func (f *frame) unpad() ([]byte, error) {
	p := f.payload
	if !f.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, violation(codeProtocol, "the padding is longer than its frame")
	}
	return p[1 : len(p)-int(p[0])], nil
}
