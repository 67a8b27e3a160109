package resolver

import (
	"golang.org/x/net/dns/dnsmessage"
)

const headerLen = 12

// query is one parsed question and what its sender can take.
type query struct {
	id       uint16
	rd       bool
	edns     bool
	version  uint8 // of EDNS
	maxUDP   int   // bytes of answer the sender accepts over UDP
	question dnsmessage.Question
}

// parse reads a packet. ok is false when it deserves no answer at all: too short
// for a header, or itself an answer. A non-zero rcode is the answer to give.
func parse(packet []byte) (q query, rcode dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	q.maxUDP = 512
	if len(packet) < headerLen {
		return q, 0, false
	}
	h, err := p.Start(packet)
	if err != nil || h.Response {
		return q, 0, false
	}
	q.id, q.rd = h.ID, h.RecursionDesired
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if packet[4] != 0 || packet[5] != 1 { // QDCOUNT
		return q, dnsmessage.RCodeFormatError, true
	}
	question, err := p.Question()
	if err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if q.readOPT(&p) != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.question = question
	return q, dnsmessage.RCodeSuccess, true
}

// readOPT skips what a query needs no attention for and notes its EDNS record.
func (q *query) readOPT(p *dnsmessage.Parser) error {
	if err := p.SkipAllQuestions(); err != nil {
		return err
	}
	if err := p.SkipAllAnswers(); err != nil {
		return err
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns, q.version = true, uint8(h.TTL>>16)
			q.maxUDP = min(max(int(h.Class), 512), 4096)
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// name is the question's name as printable ASCII without the trailing dot.
func (q *query) name() string {
	raw := q.question.Name.Data[:q.question.Name.Length]
	if n := len(raw); n > 1 && raw[n-1] == '.' {
		raw = raw[:n-1]
	}
	out := make([]byte, 0, len(raw))
	for _, c := range raw {
		if c > ' ' && c < 0x7f && c != '\\' {
			out = append(out, c)
		} else {
			out = append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		}
	}
	return string(out)
}

// typeName is the mnemonic of the question's type, "TYPE<n>" if it has none.
func (q *query) typeName() string {
	s := q.question.Type.String()
	if len(s) > 4 && s[:4] == "Type" {
		return s[4:]
	}
	return "TYPE" + s
}
