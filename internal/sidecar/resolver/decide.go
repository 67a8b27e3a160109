package resolver

import (
	"context"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"firma/internal/intent"
)

// decide answers q without blocking, or reports that it must be refused: audited
// first, then answered with reply.
func (r *Resolver) decide(q *query) (rep reply, refuse bool) {
	if q.edns && q.version != 0 {
		return reply{known: true, rcode: badVersion}, false
	}
	if q.question.Class != dnsmessage.ClassINET {
		return reply{known: true, rcode: dnsmessage.RCodeRefused}, true
	}
	name := q.question.Name.Data[:q.question.Name.Length]
	if hasSuffixFold(name, ".arpa.") {
		return r.reverse(q)
	}
	if hasSuffixFold(name, ".localhost.") || equalFold(name, "localhost.") {
		return localhost(q.question.Type), false
	}
	host, addr, err := intent.CanonicalHost(strings.TrimSuffix(string(name), "."))
	if err != nil || addr.IsValid() || !r.cfg.Routable(host) {
		return reply{known: true, rcode: dnsmessage.RCodeNameError}, true
	}
	return r.routable(q.question.Type, host), false
}

// routable answers A with the name's address, AAAA too where there is a range for
// it, ANY like A (RFC 8482), and says of every other type that there is none: the
// Sidecar speaks for all of them.
func (r *Resolver) routable(t dnsmessage.Type, host string) reply {
	six := t == dnsmessage.TypeAAAA && r.cfg.Range6.IsValid()
	if t != dnsmessage.TypeA && t != dnsmessage.TypeALL && !six {
		return reply{known: true}
	}
	a, ok := r.names.addr(host)
	switch {
	case !ok:
		return reply{}
	case six:
		return reply{known: true, answer: answerAAAA, a6: r.address6(a)}
	}
	return reply{known: true, answer: answerA, a: a}
}

// localhost is answered here (RFC 6761 section 6.3) with the sandbox's loopback.
func localhost(t dnsmessage.Type) reply {
	switch t {
	case dnsmessage.TypeA, dnsmessage.TypeALL:
		return reply{known: true, answer: answerA, a: [4]byte{127, 0, 0, 1}}
	case dnsmessage.TypeAAAA:
		return reply{known: true, answer: answerAAAA, a6: netip.IPv6Loopback().As16()}
	}
	return reply{known: true}
}

// reverse answers loopback and synthetic addresses; other names below arpa are
// refused like any name.
func (r *Resolver) reverse(q *query) (reply, bool) {
	addr, ok := reverseAddr(strings.ToLower(q.question.Name.String()))
	name, known := "localhost", addr.IsLoopback()
	if !known {
		name, known = r.Lookup(addr)
	}
	switch {
	case !ok || !known:
		return reply{known: true, rcode: dnsmessage.RCodeNameError}, true
	case q.question.Type != dnsmessage.TypePTR && q.question.Type != dnsmessage.TypeALL:
		return reply{known: true}, false
	}
	return reply{known: true, answer: answerPTR, ptr: name + "."}, false
}

// reverseAddr reads "4.3.2.1.in-addr.arpa." and its like of IPv6, one digit a label.
func reverseAddr(name string) (netip.Addr, bool) {
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa."); ok {
		return reverseAddr6(rest)
	}
	rest, ok := strings.CutSuffix(name, ".in-addr.arpa.")
	labels := strings.Split(rest, ".")
	if !ok || len(labels) != 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, l := range labels {
		v, err := strconv.ParseUint(l, 10, 8)
		if err != nil || len(l) > 1 && l[0] == '0' {
			return netip.Addr{}, false
		}
		b[3-i] = byte(v)
	}
	return netip.AddrFrom4(b), true
}

func reverseAddr6(digits string) (netip.Addr, bool) {
	var b [16]byte
	if len(digits) != 4*len(b)-1 {
		return netip.Addr{}, false
	}
	for i := range 2 * len(b) {
		v, err := strconv.ParseUint(digits[2*i:2*i+1], 16, 4)
		if err != nil || i > 0 && digits[2*i-1] != '.' {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(v) << (4 * (i % 2))
	}
	return netip.AddrFrom16(b), true
}

// refuse audits, then answers; a panic of the callback becomes SERVFAIL.
func (r *Resolver) refuse(ctx context.Context, q *query, rep reply) (out reply) {
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Log.Error("resolver: refusal not recorded", "panic", p)
			out = reply{}
		}
	}()
	r.cfg.Refused(ctx, q.name(), q.typeName())
	return rep
}

func hasSuffixFold(b []byte, suffix string) bool {
	return len(b) > len(suffix) && equalFold(b[len(b)-len(suffix):], suffix)
}

// equalFold compares in ASCII; s is lower case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
