package websocket

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"unicode/utf8"
)

// plainly is what RFC 6455 says of a whole stream, read without regard to pieces or
// cost: how much of it may pass, the code for what is wrong with the rest, 0 if
// nothing is or it is not all there, and whether something came after a Close frame.
func plainly(in []byte, client, deflate bool) (pass int, code uint16, late bool) {
	within := false
	for at := 0; ; pass = at {
		b := in[at:]
		if len(b) == 0 {
			return pass, 0, false
		}
		op, control := b[0]&0xf, b[0]&8 != 0
		bits := b[0] >> 4 & 7
		switch {
		case !slices.Contains([]byte{0, 1, 2, 8, 9, 10}, op),
			control && b[0] < 0x80,
			op == 0 && !within, (op == 1 || op == 2) && within,
			bits != 0 && !(bits == 4 && deflate && (op == 1 || op == 2)):
			return pass, 1002, false
		}
		if len(b) == 1 {
			return pass, 0, false
		}
		size, head := uint64(b[1]&0x7f), 2
		if b[1] >= 0x80 != client || control && size > 125 {
			return pass, 1002, false
		}
		ext := map[uint64]int{126: 2, 127: 8}[size]
		rest := head + ext
		if client {
			rest += 4
		}
		// What can't be seen to be wrong before the header is whole waits for that.
		if len(b) < rest {
			return pass, 0, false
		}
		if ext > 0 {
			least := map[int]uint64{2: 126, 8: 1 << 16}[ext]
			size = binary.BigEndian.Uint64(append(make([]byte, 8-ext), b[2:2+ext]...))
			if size < least || size>>63 != 0 {
				return pass, 1002, false
			}
		}
		have := min(size, uint64(len(b)-rest))
		payload := bytes.Clone(b[rest : rest+int(have)])
		if client {
			for i := range payload {
				payload[i] ^= b[rest-4+i%4]
			}
		}
		if op == 8 {
			if have < size {
				return pass, 0, false
			}
			switch {
			case size == 0:
			case size == 1 || !mayBeSent(binary.BigEndian.Uint16(payload)):
				return pass, 1002, false
			case !utf8.Valid(payload[2:]):
				return pass, 1007, false
			}
			at += rest + int(size)
			return at, 0, at < len(in)
		}
		if !control {
			within = b[0] < 0x80
		}
		if at += rest + int(have); have < size {
			return at, 0, false
		}
	}
}

// FuzzPlainly: the reader that sees pieces says what the one that sees all says.
func FuzzPlainly(f *testing.F) {
	for _, tt := range cases {
		for _, from := range []Side{Client, Server} {
			var in []byte
			for _, s := range tt.frames {
				if len(s.payload) < 1000 {
					in = append(in, frame(from, s.b0, []byte(s.payload))...)
				}
			}
			f.Add(in, from == Client, tt.deflate, 3)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, client, deflate bool, piece int) {
		from := Server
		if client {
			from = Client
		}
		var out bytes.Buffer
		w := NewWriter(&out, from, deflate)
		var bad *Error
		for rest := in; len(rest) > 0 && bad == nil; {
			n := min(max(piece&0xff, 1), len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				bad = err.(*Error)
			}
			rest = rest[n:]
		}
		pass, code, late := plainly(in, client, deflate)
		if !bytes.Equal(out.Bytes(), in[:pass]) {
			t.Fatalf("%q: %q passed, want %q", in, out.Bytes(), in[:pass])
		}
		if got := bad; (got == nil) != (code == 0) || got != nil && got.Code != code {
			t.Fatalf("%q: %v, want %d", in, got, code)
		}
		if (w.Late() != nil) != late {
			t.Fatalf("%q: %v after the Close frame", in, w.Late())
		}
		// A Close frame of ours is one, wherever it can be sent.
		before := out.Len()
		w.Tell(&Error{Server, CodeProtocol, "a test"})
		if own := in[:pass:pass]; out.Len() > before {
			if n, code, _ := plainly(append(own, out.Bytes()[before:]...), client, deflate); n != out.Len() || code != 0 {
				t.Fatalf("%q: told by %q", in, out.Bytes()[before:])
			}
		}
	})
}

// FuzzExtensions: what is passed on of offers is passed on again as it is, an answer
// that is one of the offers is accepted unless it needs a value, and no answer is
// without an offer.
func FuzzExtensions(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits, foo", "permessage-deflate")
	f.Add("permessage-deflate; server_max_window_bits=\"10\"", "permessage-deflate; server_max_window_bits=9")
	f.Add("\"a\\\", permessage-deflate", "permessage-deflate, permessage-deflate")
	f.Fuzz(func(t *testing.T, offers, answer string) {
		ask := func(offers string) *Request {
			var r Request
			r.Field(versionField, "13")
			r.Field(keyField, key)
			r.Field(extensionsField, offers)
			return &r
		}
		agrees := func(r *Request, answer string) (bool, string) {
			var p Response
			p.Field(acceptField, accept)
			p.Field(extensionsField, answer)
			return r.Agrees(&p)
		}
		passed := ask(offers).Offers()
		if again := ask(passed).Offers(); again != passed {
			t.Fatalf("%q, then %q", passed, again)
		}
		compressed, why := agrees(ask(offers), answer)
		if c, w := agrees(ask(passed), answer); c != compressed || w != why {
			t.Fatalf("%q to %q: %v %q; to what passed: %v %q", answer, offers, compressed, why, c, w)
		}
		if compressed && why == "" && passed == "" {
			t.Fatalf("%q agrees on what was not offered", answer)
		}
	})
}
