package resolver

import (
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// negativeTTL is short, so that a name permitted later resolves soon.
const negativeTTL = 5

// reply is what a query gets. The zero value is SERVFAIL.
type reply struct {
	rcode  dnsmessage.RCode
	answer answerKind
	a      [4]byte
	a6     [16]byte
	ptr    string // rooted
	known  bool   // false: the zero value
}

type answerKind uint8

const (
	noData answerKind = iota
	answerA
	answerAAAA
	answerPTR
)

// badVersion is EDNS' extended RCODE 16.
const badVersion dnsmessage.RCode = 16

// soa accompanies negative answers; without one, stub resolvers may ask again at
// once.
var soa = sync.OnceValue(func() dnsmessage.SOAResource {
	name := dnsmessage.MustNewName("firma.invalid.")
	return dnsmessage.SOAResource{NS: name, MBox: name, Serial: 1, Refresh: 60, Retry: 60, Expire: 60, MinTTL: negativeTTL}
})

// encode appends the answer to q to buf. It is within limit bytes, or truncated
// with the TC bit set.
func encode(buf []byte, q *query, r reply, ttl time.Duration, limit int) ([]byte, error) {
	out, err := build(buf, q, r, uint32(ttl/time.Second), false)
	if err == nil && len(out)-len(buf) > limit {
		out, err = build(buf, q, r, 0, true)
	}
	return out, err
}

func build(buf []byte, q *query, r reply, ttl uint32, truncated bool) ([]byte, error) {
	if !r.known {
		r.rcode = dnsmessage.RCodeServerFailure
	}
	b := dnsmessage.NewBuilder(buf, dnsmessage.Header{
		ID: q.id, Response: true, Authoritative: true, Truncated: truncated,
		RecursionDesired: q.rd, RecursionAvailable: true, RCode: r.rcode & 15,
	})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if q.question.Name.Length > 0 {
		if err := b.Question(q.question); err != nil {
			return nil, err
		}
	}
	if !truncated {
		if err := records(&b, q, r, ttl); err != nil {
			return nil, err
		}
	}
	if err := opt(&b, q, r); err != nil {
		return nil, err
	}
	return b.Finish()
}

func records(b *dnsmessage.Builder, q *query, r reply, ttl uint32) error {
	if err := b.StartAnswers(); err != nil {
		return err
	}
	h := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	switch {
	case r.rcode == dnsmessage.RCodeNameError || r.rcode == 0 && r.answer == noData:
		return negative(b)
	case r.rcode != 0:
		return nil
	case r.answer == answerA:
		return b.AResource(h, dnsmessage.AResource{A: r.a})
	case r.answer == answerAAAA:
		return b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: r.a6})
	}
	name, err := dnsmessage.NewName(r.ptr)
	if err != nil {
		return err
	}
	return b.PTRResource(h, dnsmessage.PTRResource{PTR: name})
}

func negative(b *dnsmessage.Builder) error {
	if err := b.StartAuthorities(); err != nil {
		return err
	}
	root := dnsmessage.Name{Data: [255]byte{'.'}, Length: 1}
	return b.SOAResource(dnsmessage.ResourceHeader{Name: root, Class: dnsmessage.ClassINET, TTL: negativeTTL}, soa())
}

func opt(b *dnsmessage.Builder, q *query, r reply) error {
	if !q.edns {
		return nil
	}
	if err := b.StartAdditionals(); err != nil {
		return err
	}
	var h dnsmessage.ResourceHeader
	if err := h.SetEDNS0(1232, r.rcode, false); err != nil {
		return err
	}
	return b.OPTResource(h, dnsmessage.OPTResource{})
}
