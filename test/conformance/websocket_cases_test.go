package conformance

import (
	"fmt"
	"strings"
)

// wsCase is what one side sends after the handshake, and what must become of it.
type wsCase struct {
	id      string // as the Autobahn test suite counts; R for what it has no case for
	frames  []frame
	pass    int  // how many of the frames arrive, if not all
	code    int  // of the Close frame that the sender gets for the next one; 0: it is dropped
	deflate bool // permessage-deflate was agreed on
	chop    int  // bytes of a piece, as the suite has it; 0 for the pace's
}

func passes(id string, f ...frame) wsCase { return wsCase{id: id, frames: f, pass: len(f)} }

// fails is a case whose last frame breaks the protocol.
func fails(id string, f ...frame) wsCase {
	return wsCase{id: id, frames: f, pass: len(f) - 1, code: 1002}
}

// failsAt is one whose frame n does, with others behind it.
func failsAt(id string, n int, f ...frame) wsCase {
	return wsCase{id: id, frames: f, pass: n, code: 1002}
}

// late is one with frames behind a Close frame, which are for nobody: a peer
// "discards any further data received" (RFC 6455, section 1.4).
func late(id string, n int, f ...frame) wsCase { return wsCase{id: id, frames: f, pass: n} }

func chopped(n int, c wsCase) wsCase {
	c.chop = n
	return c
}

func compressed(c wsCase) wsCase {
	c.deflate = true
	return c
}

// class is the first part of the id.
func (c wsCase) class() string {
	class, _, _ := strings.Cut(c.id, ".")
	return class
}

const hello = "Hello-µ@ßöäüàá-UTF-8!!" // of classes 5 and 6

func rep(n int) string { return strings.Repeat("*", n) }

func wsCases() []wsCase {
	var all []wsCase
	for _, part := range [][]wsCase{framing(), pings(), reserved(), opcodes(), fragmentation(), utf8Cases(), closes(), auto(), beyond()} {
		all = append(all, part...)
	}
	return all
}

func framing() (all []wsCase) {
	for kind, f := range []func(string) frame{txt, bytesOf} {
		for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			c := passes(fmt.Sprintf("1.%d.%d", kind+1, i+1), f(rep(n)))
			if i == 7 {
				c.chop = 997
			}
			all = append(all, c)
		}
	}
	return all
}

func pings() []wsCase {
	p := func(s string) frame { return raw(fin|ping, s) }
	o := func(s string) frame { return raw(fin|pong, s) }
	var ten []frame
	for i := range 10 {
		ten = append(ten, p(fmt.Sprint("payload-", i)))
	}
	return []wsCase{
		passes("2.1", p("")),
		passes("2.2", p("Hello, world!")),
		passes("2.3", p("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")),
		passes("2.4", p(strings.Repeat("\xfe", 125))),
		fails("2.5", p(strings.Repeat("\xfe", 126))),
		chopped(1, passes("2.6", p(strings.Repeat("\xfe", 125)))),
		passes("2.7", o("")),
		passes("2.8", o("unsolicited pong payload")),
		passes("2.9", o("unsolicited pong payload"), p("ping payload")),
		passes("2.10", ten...),
		chopped(1, passes("2.11", ten...)),
	}
}

func reserved() []wsCase {
	ok := txt("Hello, world!")
	return []wsCase{
		fails("3.1", raw(fin|rsv3|text, ok.payload)),
		failsAt("3.2", 1, ok, raw(fin|rsv2|text, ok.payload), raw(fin|ping, "")),
		failsAt("3.3", 1, ok, raw(fin|rsv2|rsv3|text, ok.payload), raw(fin|ping, "")),
		chopped(1, failsAt("3.4", 1, ok, raw(fin|rsv1|text, ok.payload), raw(fin|ping, ""))),
		fails("3.5", raw(fin|rsv1|rsv3|bin, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")),
		fails("3.6", raw(fin|rsv1|rsv2|ping, ok.payload)),
		fails("3.7", raw(fin|rsv1|rsv2|rsv3|clos, "")),
	}
}

func opcodes() (all []wsCase) {
	ok := txt("Hello, world!")
	for kind, from := range []byte{3, 11} {
		for i := range byte(5) {
			id, op := fmt.Sprintf("4.%d.%d", kind+1, i+1), fin|(from+i)
			switch i {
			case 0:
				all = append(all, fails(id, raw(op, "")))
			case 1:
				all = append(all, fails(id, raw(op, "reserved opcode payload")))
			case 2:
				all = append(all, failsAt(id, 1, ok, raw(op, ""), raw(fin|ping, "")))
			case 3:
				all = append(all, failsAt(id, 1, ok, raw(op, "reserved opcode payload"), raw(fin|ping, "")))
			case 4:
				all = append(all, chopped(1, failsAt(id, 1, ok, raw(op, "reserved opcode payload"), raw(fin|ping, ""))))
			}
		}
	}
	return all
}

func fragmentation() []wsCase {
	a, b := raw(text, "fragment1"), raw(fin|cont, "fragment2")
	p := func(s string) frame { return raw(fin|ping, s) }
	orphan := func(end byte) []frame {
		return []frame{raw(end|cont, "non-continuation payload"), txt("Hello, world!")}
	}
	again := func(end byte) []frame {
		round := []frame{raw(end|cont, "fragment1"), raw(text, "fragment2"), raw(fin|cont, "fragment3")}
		return append(round, round...)
	}
	long := []frame{
		raw(text, "fragment1"), raw(cont, "fragment2"), p("pongme 1!"), raw(cont, "fragment3"), raw(cont, "fragment4"), p("pongme 2!"), raw(fin|cont, "fragment5"),
	}
	return []wsCase{
		fails("5.1", raw(ping, "fragment1")),
		fails("5.2", raw(pong, "fragment1")),
		passes("5.3", a, b),
		chopped(9, passes("5.4", a, b)),
		chopped(1, passes("5.5", a, b)),
		passes("5.6", a, p("ping payload"), b),
		chopped(9, passes("5.7", a, p("ping payload"), b)),
		chopped(1, passes("5.8", a, p("ping payload"), b)),
		failsAt("5.9", 0, orphan(fin)...),
		chopped(9, failsAt("5.10", 0, orphan(fin)...)),
		chopped(1, failsAt("5.11", 0, orphan(fin)...)),
		failsAt("5.12", 0, orphan(0)...),
		chopped(9, failsAt("5.13", 0, orphan(0)...)),
		chopped(1, failsAt("5.14", 0, orphan(0)...)),
		failsAt("5.15", 2, a, b, raw(cont, "fragment3"), raw(fin|text, "fragment4")),
		failsAt("5.16", 0, again(0)...),
		failsAt("5.17", 0, again(fin)...),
		failsAt("5.18", 1, raw(text, "fragment1"), raw(fin|text, "fragment2")),
		passes("5.19", long...),
		chopped(1, passes("5.20", long...)),
	}
}

func closes() []wsCase {
	bye := closing(1000, "")
	nonUTF8 := "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"
	all := []wsCase{
		passes("7.1.1", txt("Hello World!")),
		late("7.1.2", 1, bye, raw(fin|clos, "")),
		late("7.1.3", 1, bye, raw(fin|ping, "")),
		late("7.1.4", 1, bye, txt("Hello World!")),
		late("7.1.5", 2, raw(text, "fragment1"), bye, raw(fin|cont, "fragment2")),
		late("7.1.6", 3, txt(rep(256<<10)), txt("Hello World!"), bye, raw(fin|ping, "")),
		passes("7.3.1", raw(fin|clos, "")),
		fails("7.3.2", raw(fin|clos, "a")),
		passes("7.3.3", bye),
		passes("7.3.4", closing(1000, "Hello World!")),
		passes("7.3.5", closing(1000, rep(123))),
		fails("7.3.6", closing(1000, rep(124))),
		{id: "7.5.1", frames: []frame{closing(1000, nonUTF8)}, code: 1007},
	}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		all = append(all, passes(fmt.Sprintf("7.7.%d", i+1), closing(code, "")))
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		all = append(all, fails(fmt.Sprintf("7.9.%d", i+1), closing(code, "")))
	}
	return append(all, fails("7.13.1", closing(5000, "")), fails("7.13.2", closing(65535, "")))
}

func auto() []wsCase {
	return []wsCase{passes("10.1.1", fragments(text, rep(65536), 1300)...)}
}

// fragments cuts a message into frames of n bytes.
func fragments(op byte, s string, n int) (all []frame) {
	for ; len(s) > n; op = cont {
		all = append(all, raw(op, s[:n]))
		s = s[n:]
	}
	return append(all, raw(fin|op, s))
}

// beyond are cases for what RFC 6455 and RFC 7692 say and the suite does not try.
func beyond() (all []wsCase) {
	add := func(name string, c wsCase) {
		c.id = "R." + name
		all = append(all, c)
	}
	for _, f := range []frame{txt("x"), raw(fin|ping, "x"), closing(1000, ""), txt(rep(70000))} {
		f.mask = asMustNot
		add(fmt.Sprintf("masked as the other side, opcode %x, %d bytes", f.first&0xf, len(f.payload)), fails("", txt("ok"), f))
	}
	for n, form := range map[int]lengthForm{5: in16, 0: in16, 125: in64, 126: in64, 65535: in64} {
		add(fmt.Sprintf("the length %d is not in its shortest form", n), fails("", frame{first: fin | bin, payload: rep(n), length: form}))
	}
	add("a length of 2^63", fails("", frame{first: fin | bin, length: topBit}))
	add("a ping whose length takes two bytes", fails("", frame{first: fin | ping, payload: "x", length: in16}))
	add("a Close frame whose length takes eight", fails("", frame{first: fin | clos, payload: "\x03\xe8", length: in64}))
	for _, code := range []int{1012, 1013, 1014} {
		add(fmt.Sprint("the registered code ", code), passes("", closing(code, "")))
	}
	add("half a character in a reason", wsCase{frames: []frame{closing(1000, "\xce")}, code: 1007})
	add("an empty fragment", passes("", raw(text, ""), raw(cont, ""), raw(fin|cont, "")))
	add("Close within a message", passes("", raw(text, "a"), closing(1001, "")))
	add("another protocol after the Close frame", late("", 1, closing(1000, ""), raw('S', "SH-2.0-OpenSSH")))
	add("another protocol", fails("", raw('S', "SH-2.0-OpenSSH")))
	add("compressed, though nobody agreed", fails("", raw(fin|rsv1|text, "\xf2H\xcd\xc9\xc9\x07\x00")))
	add("compressed in the middle, though nobody agreed", fails("", raw(text, "a"), raw(fin|rsv1|cont, "")))
	add("compressed", compressed(passes("", raw(fin|rsv1|text, "\xf2H\xcd\xc9\xc9\x07\x00"), txt("Hello"))))
	add("compressed fragments", compressed(passes("", raw(rsv1|text, "\xf2H"), raw(fin|ping, ""), raw(cont, "\xcd"), raw(fin|cont, "\xc9\xc9\x07\x00"))))
	add("a compressed continuation", compressed(fails("", raw(rsv1|text, "\xf2H"), raw(fin|rsv1|cont, "\xcd\xc9\xc9\x07\x00"))))
	add("a compressed ping", compressed(fails("", raw(fin|rsv1|ping, ""))))
	add("a compressed Close frame", compressed(fails("", raw(fin|rsv1|clos, ""))))
	add("another reserved bit with the compressed one", compressed(fails("", raw(fin|rsv1|rsv2|text, ""))))
	return all
}
