package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// frame builds a frame as from sends it; b0 is its first byte.
func frame(from Side, b0 byte, payload []byte) []byte {
	b := []byte{b0}
	mask := byte(0)
	if from == Client {
		mask = maskBit
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if from == Server {
		return append(b, payload...)
	}
	key := []byte{0x5a, 0xa5, 0x13, 0x37}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

type spec struct {
	b0      byte
	payload string
}

// The cases follow the groups of the Autobahn test suite. A case that fails must
// let everything before its last frame pass and nothing of that frame.
var cases = []struct {
	name    string
	deflate bool
	frames  []spec
	ok      bool
}{
	{"1 text", false, []spec{{0x81, ""}, {0x81, "hello"}, {0x82, "\x00\xff"}}, true},
	{"1 lengths", false, []spec{{0x82, strings.Repeat("x", 125)}, {0x82, strings.Repeat("x", 126)}, {0x82, strings.Repeat("x", 65535)}, {0x82, strings.Repeat("x", 65536)}}, true},
	{"2 ping and pong", false, []spec{{0x89, ""}, {0x89, strings.Repeat("p", 125)}, {0x8a, "unasked"}}, true},
	{"2 long ping", false, []spec{{0x89, strings.Repeat("p", 126)}}, false},
	{"3 reserved bit 1", false, []spec{{0xc1, "x"}}, false},
	{"3 reserved bit 2", true, []spec{{0xa1, "x"}}, false},
	{"3 reserved bit 3", true, []spec{{0x81, "ok"}, {0x91, "x"}}, false},
	{"3 reserved bits of a ping", true, []spec{{0xc9, "x"}}, false},
	{"4 reserved opcode 3", false, []spec{{0x83, ""}}, false},
	{"4 reserved opcode 7", false, []spec{{0x81, "ok"}, {0x87, "x"}}, false},
	{"4 reserved opcode 11", false, []spec{{0x8b, ""}}, false},
	{"4 reserved opcode 15", false, []spec{{0x8f, "x"}}, false},
	{"5 fragments", false, []spec{{0x01, "a"}, {0x00, "b"}, {0x80, "c"}, {0x81, "d"}}, true},
	{"5 ping between fragments", false, []spec{{0x01, "a"}, {0x89, "p"}, {0x00, "b"}, {0x8a, ""}, {0x80, ""}}, true},
	{"5 fragmented ping", false, []spec{{0x09, "p"}}, false},
	{"5 fragmented close", false, []spec{{0x08, ""}}, false},
	{"5 continuation first", false, []spec{{0x80, "x"}}, false},
	{"5 continuation after a whole message", false, []spec{{0x81, "x"}, {0x80, "x"}}, false},
	{"5 message within a message", false, []spec{{0x01, "a"}, {0x81, "b"}}, false},
	{"6 text that is no UTF-8 is not ours to judge", false, []spec{{0x81, "\xc3\x28"}}, true},
	{"7 close", false, []spec{{0x88, ""}}, true},
	{"7 close with code and reason", false, []spec{{0x88, "\x03\xe8bye"}}, true},
	{"7 close with a long reason", false, []spec{{0x88, "\x03\xe8" + strings.Repeat("r", 123)}}, true},
	{"7 close with a reason that is no UTF-8", false, []spec{{0x81, "x"}, {0x88, "\x03\xe8\xce\xba\xed\xa0\x80"}}, false},
	{"7 close with half a character", false, []spec{{0x88, "\x03\xe8\xce"}}, false},
	{"7 close in a fragmented message", false, []spec{{0x01, "a"}, {0x88, "\x03\xe9"}}, true},
	{"7 close with half a code", false, []spec{{0x88, "\x03"}}, false},
	{"7 close with 126 bytes", false, []spec{{0x88, "\x03\xe8" + strings.Repeat("r", 124)}}, false},
	{"9 big", false, []spec{{0x82, strings.Repeat("x", 4<<20)}}, true},
	{"12 compressed", true, []spec{{0xc1, "x"}, {0x81, "y"}, {0x41, "a"}, {0x80, "b"}}, true},
	{"12 compressed continuation", true, []spec{{0x41, "a"}, {0xc0, "b"}}, false},
}

func TestCases(t *testing.T) {
	for _, tt := range cases {
		for _, from := range []Side{Client, Server} {
			var in, want []byte
			for i, s := range tt.frames {
				f := frame(from, s.b0, []byte(s.payload))
				in = append(in, f...)
				if tt.ok || i < len(tt.frames)-1 {
					want = append(want, f...)
				}
			}
			for _, piece := range []int{1, 2, 7, 1000, len(in)} {
				if len(in) > 1<<20 && piece < 1000 {
					continue
				}
				got, err := pass(in, from, tt.deflate, func() int { return piece })
				var bad *Error
				if (err == nil) != tt.ok || err != nil && (!errors.As(err, &bad) || bad.From != from) {
					t.Errorf("%s from %d in pieces of %d: %v", tt.name, from, piece, err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s from %d in pieces of %d: %d bytes passed, want %d", tt.name, from, piece, len(got), len(want))
				}
			}
		}
	}
}

// pass writes in to a Writer piece by piece and returns what got through.
func pass(in []byte, from Side, deflate bool, piece func() int) ([]byte, error) {
	var out bytes.Buffer
	w := NewWriter(&out, from, deflate)
	for len(in) > 0 {
		n := min(len(in), max(piece(), 1))
		if _, err := w.Write(in[:n]); err != nil {
			return out.Bytes(), err
		}
		in = in[n:]
	}
	return out.Bytes(), w.End()
}

func TestRawFrames(t *testing.T) {
	for _, tt := range []struct {
		name string
		from Side
		in   string
		why  string // "" passes
	}{
		{"client without mask", Client, "\x81\x01x", "masked"},
		{"server with mask", Server, "\x81\x81abcdx", "masked"},
		{"two bytes for a small length", Server, "\x82\x7e\x00\x05hello", "shortest"},
		{"eight bytes for a middle length", Server, "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "shortest"},
		{"length with the top bit", Server, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "range"},
		{"ping with a long length", Server, "\x89\x7e\x00\x7e", "too long"},
		{"another protocol", Client, "SSH-2.0-OpenSSH_9.2\r\n", "reserved"},
		{"a TLS ClientHello", Client, "\x16\x03\x01\x02\x00", "reserved"},
		{"an HTTP request", Client, "GET / HTTP/1.1\r\n", "reserved"},
		{"ends within a header", Server, "\x82", "within"},
		{"ends within a payload", Server, "\x82\x05hell", "within"},
		{"nothing", Server, "", ""},
	} {
		got, err := pass([]byte(tt.in), tt.from, false, func() int { return len(tt.in) })
		if (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.why != "within" && len(got) > 0 {
			t.Errorf("%s: %q passed", tt.name, got)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		ok := code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
		for _, from := range []Side{Client, Server} {
			in := frame(from, 0x88, binary.BigEndian.AppendUint16(nil, uint16(code)))
			if _, err := pass(in, from, false, func() int { return len(in) }); (err == nil) != ok {
				t.Fatalf("%d: %v", code, err)
			}
		}
	}
}

func TestNothingAfterAViolation(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, Server, false)
	if _, err := w.Write([]byte("\x83")); err == nil {
		t.Fatal("passed")
	}
	if _, err := w.Write(frame(Server, 0x81, []byte("x"))); err == nil || out.Len() > 0 {
		t.Errorf("%v, %q", err, out.Bytes())
	}
}

func TestDestinationFails(t *testing.T) {
	r, pw := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if _, err := NewWriter(pw, Server, false).Write(frame(Server, 0x81, []byte("x"))); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

func TestHandshake(t *testing.T) {
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, section 1.3
		t.Error(got)
	}
	if a, b := NewKey(), NewKey(); a == b || !isKey(a) {
		t.Error(a, b)
	}
	for key, ok := range map[string]bool{
		"dGhlIHNhbXBsZSBub25jZQ==": true, "": false, "x": false, "dGhlIHNhbXBsZSBub25jZQ=": false,
		"dGhlIHNhbXBsZSBub25jZR==": false, "dGhlIHNhbXBsZSBub25jZTEy": false, "!GhlIHNhbXBsZSBub25jZQ==": false,
	} {
		if isKey(key) != ok {
			t.Error(key)
		}
	}
}

const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// TestAgrees: what a client must not take for an answer (RFC 6455, section 4.1) is
// none.
func TestAgrees(t *testing.T) {
	good := [][2]string{{"Sec-WebSocket-Key", key}, {"sec-websocket-version", "13"}}
	for _, tt := range []struct {
		name     string
		ask, say [][2]string
		ok       bool
	}{
		{"as it should be", good, [][2]string{{"SEC-WEBSOCKET-ACCEPT", accept}}, true},
		{"no accept", good, nil, false},
		{"another accept", good, [][2]string{{"Sec-WebSocket-Accept", Accept("x")}}, false},
		{"two accepts", good, [][2]string{{"Sec-WebSocket-Accept", accept}, {"Sec-WebSocket-Accept", accept}}, false},
		{"no key", good[1:], [][2]string{{"Sec-WebSocket-Accept", accept}}, false},
		{"two keys", append(good[:2:2], good[0]), [][2]string{{"Sec-WebSocket-Accept", accept}}, false},
		{"a short key", [][2]string{good[1], {"Sec-WebSocket-Key", "eA=="}}, [][2]string{{"Sec-WebSocket-Accept", Accept("eA==")}}, false},
		{"no version", good[:1], [][2]string{{"Sec-WebSocket-Accept", accept}}, false},
		{"version 8", [][2]string{good[0], {"Sec-WebSocket-Version", "8"}}, [][2]string{{"Sec-WebSocket-Accept", accept}}, false},
		{"two versions", append(good[:2:2], good[1]), [][2]string{{"Sec-WebSocket-Accept", accept}}, false},
	} {
		var r Request
		var p Response
		for _, f := range tt.ask {
			r.Field(f[0], f[1])
		}
		for _, f := range tt.say {
			p.Field(f[0], f[1])
		}
		if _, why := r.Agrees(&p); (why == "") != tt.ok {
			t.Errorf("%s: %q", tt.name, why)
		}
	}
}

// TestExtensions: only what was offered can be agreed on, and only within what was
// offered (RFC 7692, section 7.1).
func TestExtensions(t *testing.T) {
	const d = "permessage-deflate"
	for _, tt := range []struct {
		offers, passes, answer string
		compressed, ok         bool
	}{
		{"", "", "", false, true},
		{d, d, "", false, true},
		{d, d, d, true, true},
		{d, d, "Permessage-Deflate", true, true},
		{"", "", d, false, false},
		{"", "", "foo", false, false},
		{d, d, d + ", " + d, false, false},
		{d, d, d + ", foo", false, false},
		{d, d, ", " + d + ",", true, true},
		{"x-webkit-deflate-frame, " + d, d, "x-webkit-deflate-frame", false, false},
		{"foo; a=\"permessage-deflate, x\"", "", "", false, true},
		{"foo; a=\"\\\", permessage-deflate, \"", "", d, false, false},
		{d + "; a=b, " + d + "; server_max_window_bits=7, " + d + "; server_max_window_bits=010", "", d, false, false},
		{d + "; server_max_window_bits, " + d + "; server_no_context_takeover=1, " + d + ";", "", d, false, false},
		{d + "; client_no_context_takeover; client_no_context_takeover", "", "", false, true},
		{d + "; server_max_window_bits=\"10\"", d + "; server_max_window_bits=\"10\"", d + ";server_max_window_bits = 10", true, true},
		{d + "; server_max_window_bits=10", d + "; server_max_window_bits=10", d, false, false},
		{d + "; server_max_window_bits=10", d + "; server_max_window_bits=10", d + "; server_max_window_bits=11", false, false},
		{d, d, d + "; server_max_window_bits=8; server_no_context_takeover; client_no_context_takeover", true, true},
		{d, d, d + "; client_max_window_bits=10", false, false},
		{d + "; client_max_window_bits", d + "; client_max_window_bits", d + "; client_max_window_bits=10", true, true},
		{d + "; client_max_window_bits", d + "; client_max_window_bits", d + "; client_max_window_bits", false, false},
		{d + "; client_max_window_bits=12", d + "; client_max_window_bits=12", d + "; client_max_window_bits=13", false, false},
		{d + "; client_max_window_bits=12", d + "; client_max_window_bits=12", d, true, true},
		{d + "; server_no_context_takeover", d + "; server_no_context_takeover", d, false, false},
		{d + "; server_no_context_takeover, " + d, d + "; server_no_context_takeover, " + d, d, true, true},
	} {
		var r Request
		r.Field(versionField, "13")
		r.Field(keyField, key)
		r.Field("Sec-WebSocket-Extensions", tt.offers)
		if got := r.Offers(); got != tt.passes {
			t.Errorf("%s: %q passes", tt.offers, got)
		}
		var p Response
		p.Field(acceptField, accept)
		p.Field("Sec-WebSocket-Extensions", tt.answer)
		if compressed, why := r.Agrees(&p); (why == "") != tt.ok || tt.ok && compressed != tt.compressed {
			t.Errorf("%s, answered %s: %v, %q", tt.offers, tt.answer, compressed, why)
		}
	}
}

// TestTell: the end is told between frames, once, and by whom it concerns.
func TestTell(t *testing.T) {
	bad := func(from Side) *Error { return &Error{from, CodeProtocol, "a reserved bit"} }
	for _, tt := range []struct {
		name     string
		from, by Side // who sends on the way; who broke the protocol
		before   string
		code     uint16 // 0: nothing is told
	}{
		{"a client is told what it did", Server, Client, "", 1002},
		{"a client is told that its server did", Server, Server, "", 1011},
		{"a server is told what it did", Client, Server, "", 1002},
		{"a server is not told what its client did", Client, Client, "", 0},
		{"between fragments", Server, Client, "\x01\x01a", 1002},
		{"after half a header", Server, Client, "\x81", 1002},
		{"in a frame", Server, Client, "\x81\x02a", 0},
		{"after a Close frame", Server, Client, "\x88\x00", 0},
		{"after half of one", Server, Client, "\x88\x02\x03", 1002},
	} {
		var out bytes.Buffer
		w := NewWriter(&out, tt.from, false)
		w.Write([]byte(tt.before))
		out.Reset()
		if err := w.Tell(bad(tt.by)); err != nil {
			t.Error(err)
		}
		told := bytes.Clone(out.Bytes())
		w.Tell(bad(tt.by))
		w.Write(frame(tt.from, 0x81, []byte("x")))
		if after := out.Bytes()[len(told):]; tt.code != 0 && len(after) > 0 {
			t.Errorf("%s: then %q", tt.name, after)
		}
		if tt.code == 0 {
			if len(told) > 0 {
				t.Errorf("%s: %q", tt.name, told)
			}
			continue
		}
		if got, err := pass(told, tt.from, false, func() int { return len(told) }); err != nil || !bytes.Equal(got, told) {
			t.Errorf("%s: %q, %v", tt.name, told, err)
		}
		at := 2
		if tt.from == Client {
			for i := range told[6:] {
				told[6+i] ^= told[2+i%4]
			}
			at = 6
		}
		if code := binary.BigEndian.Uint16(told[at:]); code != tt.code || !strings.Contains(string(told[at+2:]), "a reserved bit") {
			t.Errorf("%s: %d %q", tt.name, code, told[at+2:])
		}
	}
}

// said is a connection that takes what is written and then says what answer makes of
// it.
type said struct {
	net.Conn // none of whose other methods is called
	r        io.Reader
	answer   func(written []byte) []byte
}

func (c *said) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c *said) Write(p []byte) (int, error) {
	if c.answer != nil {
		c.r, c.answer = bytes.NewReader(c.answer(p)), nil
	}
	return len(p), nil
}
func (c *said) Close() error                     { return nil }
func (c *said) SetDeadline(time.Time) error      { return nil }
func (c *said) SetReadDeadline(time.Time) error  { return nil }
func (c *said) SetWriteDeadline(time.Time) error { return nil }

type hijacked struct {
	http.ResponseWriter
	c net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.c, bufio.NewReadWriter(bufio.NewReader(h.c), bufio.NewWriter(h.c)), nil
}

// asGorilla is how another implementation reads frames of from, to their end.
func asGorilla(t *testing.T, in []byte, from Side) error {
	var c *gorilla.Conn
	var err error
	if from == Client {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {NewKey()}}
		c, err = (&gorilla.Upgrader{}).Upgrade(hijacked{httptest.NewRecorder(), &said{r: bytes.NewReader(nil), answer: func([]byte) []byte { return in }}}, r, nil)
	} else {
		nc := &said{answer: func(request []byte) []byte {
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
			if err != nil {
				t.Fatal(err)
			}
			return append([]byte("HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+Accept(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n"), in...)
		}}
		d := gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return nc, nil }}
		c, _, err = d.Dial("ws://a.test", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return err
		}
	}
}

// FuzzPieces: how the bytes are cut into pieces changes nothing, what passes is a
// prefix of what came, and is frames to another implementation.
func FuzzPieces(f *testing.F) {
	for _, tt := range cases {
		var in []byte
		for _, s := range tt.frames {
			if len(s.payload) < 1000 {
				in = append(in, frame(Client, s.b0, []byte(s.payload))...)
			}
		}
		f.Add(in, true, tt.deflate, uint64(1))
		in = nil
		for _, s := range tt.frames {
			if len(s.payload) < 1000 {
				in = append(in, frame(Server, s.b0, []byte(s.payload))...)
			}
		}
		f.Add(in, false, tt.deflate, uint64(1))
	}
	f.Fuzz(func(t *testing.T, in []byte, client, deflate bool, seed uint64) {
		from := Server
		if client {
			from = Client
		}
		whole, err := pass(in, from, deflate, func() int { return len(in) })
		rng := rand.New(rand.NewPCG(seed, 0))
		pieces, perr := pass(in, from, deflate, func() int { return rng.IntN(9) })
		if !bytes.Equal(whole, pieces) || (err == nil) != (perr == nil) {
			t.Fatalf("whole: %q %v\npieces: %q %v", whole, err, pieces, perr)
		}
		if !bytes.HasPrefix(in, whole) {
			t.Fatalf("%q of %q", whole, in)
		}
		if rest := in[len(whole):]; err == nil && len(rest) > 0 {
			if v := (Validator{From: from, Deflate: deflate}); !closed(&v, whole) {
				t.Fatalf("%q was dropped after %q", rest, whole)
			}
		}
		if deflate || err != nil || len(in) > 1<<16 {
			return
		}
		var ended *gorilla.CloseError // after a Close frame, or where the bytes end
		theirs := asGorilla(t, whole, from)
		if !errors.As(theirs, &ended) && theirs != io.EOF && theirs != io.ErrUnexpectedEOF &&
			!strings.Contains(theirs.Error(), "bad close code 1014") { // the registry has it
			t.Fatalf("%q passes, another reader: %v", whole, theirs)
		}
	})
}

func closed(v *Validator, frames []byte) bool {
	v.Check(frames)
	return v.Closed() && v.Late() == nil
}

// TestAfterClose: what comes after a Close frame is dropped, whatever it is.
func TestAfterClose(t *testing.T) {
	for _, from := range []Side{Client, Server} {
		goodbye := frame(from, 0x88, []byte("\x03\xe8"))
		for _, after := range [][]byte{frame(from, 0x81, []byte("x")), frame(from, 0x88, nil), []byte("SSH-2.0-x"), {0x89}} {
			in := append(bytes.Clone(goodbye), after...)
			for piece := range len(in) {
				var out bytes.Buffer
				w := NewWriter(&out, from, false)
				called := 0
				w.OnLate = func() { called++ }
				for rest := in; len(rest) > 0; rest = rest[min(piece+1, len(rest)):] {
					if n, err := w.Write(rest[:min(piece+1, len(rest))]); err != nil || n != min(piece+1, len(rest)) {
						t.Fatal(n, err)
					}
				}
				if !bytes.Equal(out.Bytes(), goodbye) || !w.Closed() || w.Late() == nil || w.Late().From != from || w.End() != nil || called != 1 {
					t.Errorf("%q: %q, %v", in, out.Bytes(), w.Late())
				}
			}
		}
		w := NewWriter(io.Discard, from, false)
		if w.Write(goodbye); w.Late() != nil {
			t.Error(w.Late())
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	in := frame(Server, 0x82, make([]byte, 32<<10))
	b.SetBytes(int64(len(in)))
	w := NewWriter(io.Discard, Server, false)
	for b.Loop() {
		w.Write(in)
	}
}
