package conformance

import (
	"fmt"
	"unicode/utf8"
)

// outcome is what an endpoint that echoes sends back: the messages, the answers to
// pings, and the code of its Close frame, 0 for one without a code, -1 for none.
type outcome struct {
	messages []message
	pongs    []string
	code     int
}

type message struct {
	op   byte
	data string
}

func (o *outcome) String() string {
	s := fmt.Sprintf("code %d, %d pongs, %d messages", o.code, len(o.pongs), len(o.messages))
	for i, m := range o.messages {
		if i < 3 && len(m.data) < 50 {
			s += fmt.Sprintf(" %x:%q", m.op, m.data)
		}
	}
	return s
}

// required is what RFC 6455 has an endpoint that echoes answer to a case.
func (c *wsCase) required() outcome {
	list := c.frames[:c.pass]
	if c.code == 0 && c.pass == len(c.frames) && list[c.pass-1].first != fin|clos {
		list = append(list[:c.pass:c.pass], closing(1000, ""))
	}
	o := outcome{code: c.code}
	var m message
	for _, f := range list {
		switch op := f.first & 0xf; op {
		case ping:
			o.pongs = append(o.pongs, f.payload)
		case pong:
		case clos:
			o.code = f.code()
			return o
		case text, bin:
			m = message{op, f.payload}
		case cont:
			m.data += f.payload
		}
		if f.first&0x8 == 0 && f.first&fin != 0 {
			if m.op == text && !utf8.ValidString(m.data) {
				o.code = 1007
				return o
			}
			o.messages = append(o.messages, m)
		}
	}
	return o
}

// cut is the message that is under way when the frames that pass end, or nil.
func (c *wsCase) cut() *message {
	var m *message
	for _, f := range c.frames[:c.pass] {
		switch op := f.first & 0xf; {
		case op == text || op == bin:
			m = &message{op, f.payload}
		case op == cont && m != nil:
			m.data += f.payload
		}
		if f.first&0x8 == 0 && f.first&fin != 0 {
			m = nil
		}
	}
	return m
}

// said is what came back.
func said(list []frame) outcome {
	o := outcome{code: -1}
	var m message
	for _, f := range list {
		switch op := f.first & 0xf; op {
		case pong:
			o.pongs = append(o.pongs, f.payload)
			continue
		case clos:
			o.code = f.code()
			return o
		case text, bin:
			m = message{op, f.payload}
		case cont:
			m.data += f.payload
		}
		if f.first&0x8 == 0 && f.first&fin != 0 {
			o.messages = append(o.messages, m)
		}
	}
	return o
}

// same reports whether o is what was required. An endpoint that fails the
// connection may do so before it has answered everything, and an endpoint may
// answer only the last of several pings (section 5.5.3), or a Close frame with 1000.
func (o *outcome) same(want *outcome, failed bool) bool {
	if o.code != want.code && !(o.code == 1000 && !failed) {
		return false
	}
	if len(o.messages) > len(want.messages) || !failed && len(o.messages) < len(want.messages) {
		return false
	}
	for i, m := range o.messages {
		if m != want.messages[i] {
			return false
		}
	}
	at := 0
	for _, p := range o.pongs {
		for at < len(want.pongs) && want.pongs[at] != p {
			at++
		}
		if at++; at > len(want.pongs) {
			return false
		}
	}
	return failed || len(want.pongs) == 0 || len(o.pongs) > 0 && o.pongs[len(o.pongs)-1] == want.pongs[len(want.pongs)-1]
}

// answers is how many messages and pongs an echo has for a case that is in order.
func (c *wsCase) answers() (messages, pongs int) {
	for _, f := range c.frames {
		switch {
		case f.first == fin|ping:
			pongs++
		case f.first&0x8 == 0 && f.first&fin != 0:
			messages++
		}
	}
	return messages, pongs
}
