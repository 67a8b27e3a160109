package canary

import (
	"fmt"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server on UDP that knows every name as 203.0.113.9 (RFC 5737) and
// remembers each question as "dns NAME TYPE".
func (y *Yard) DNS(name, addr string) (*net.UDPAddr, error) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("canary %s: %w", name, err)
	}
	y.keep(c)
	go y.datagrams(name, c, func(p []byte) []byte { return y.question(name, p) })
	return c.LocalAddr().(*net.UDPAddr), nil
}

func (y *Yard) question(bait string, p []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(p) != nil || len(m.Questions) == 0 {
		return nil
	}
	q := m.Questions[0]
	y.add(Hit{Bait: bait, Payload: fmt.Sprintf("dns %s %s", q.Name, q.Type)})
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: [4]byte{203, 0, 113, 9}},
		}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
