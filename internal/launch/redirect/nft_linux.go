package redirect

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The table as nft(8) would list it, for one family:
//
//	table ip firma {
//	  chain own {
//	    type filter hook output priority raw; policy accept;
//	    ip saddr 127.0.0.0/8 ip daddr 127.0.0.0/8 th sport != {PORT, 1} th dport != PORT notrack
//	  }
//	  chain capture {
//	    type nat hook output priority dstnat; policy accept;
//	    meta l4proto tcp ip daddr 127.0.0.0/8 th dport PORT redirect to :1
//	    meta l4proto tcp ip daddr != 127.0.0.0/8 redirect to :PORT
//	  }
//	}
//
// The first chain only saves time: what stays on loopback, the way to the proxy
// above all, is not tracked. The listener's own connections are, so that one that
// was opened to it directly is told from one that was redirected: it is turned to
// a port where nobody inside may listen, so the listener can't be reached as such.
const (
	table   = "firma"
	own     = "own"
	capture = "capture"

	priorityRaw = -300 // NF_IP_PRI_RAW
	priorityNAT = -100 // NF_IP_PRI_NAT_DST
	accept      = 1    // NF_ACCEPT
)

// network is how a family's header shows loopback.
type network struct {
	source, destination uint32 // offsets of what is compared
	loopback            []byte
}

// nobody is port 1, on which the agent may not listen.
var nobody = []byte{0, 1}

var (
	ipv4 = network{12, 16, []byte{127}} // the first byte of 127.0.0.0/8
	ipv6 = network{8, 24, []byte{15: 1}}
)

// batch is one transaction: all of it, or nothing.
type batch struct{ messages }

func newBatch() *batch {
	b := &batch{}
	b.begin("begin a change of nf_tables", unix.NFNL_MSG_BATCH_BEGIN, 0, generic(unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)...)
	b.done()
	return b
}

func (b *batch) end() {
	b.begin("end a change of nf_tables", unix.NFNL_MSG_BATCH_END, 0, generic(unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)...)
	b.done()
}

// generic is struct nfgenmsg.
func generic(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
}

func (b *batch) rules(family byte, n network, port uint16) {
	p := binary.BigEndian.AppendUint16(nil, port)
	b.message(unix.NFT_MSG_NEWTABLE, "make a table of nf_tables", family, func() { b.text(unix.NFTA_TABLE_NAME, table) })
	b.chain(family, own, "filter", priorityRaw)
	b.chain(family, capture, "nat", priorityNAT)
	b.rule("leave loopback untracked (notrack)", family, own, func() {
		b.compare(unix.NFT_PAYLOAD_NETWORK_HEADER, n.source, unix.NFT_CMP_EQ, n.loopback)
		b.compare(unix.NFT_PAYLOAD_NETWORK_HEADER, n.destination, unix.NFT_CMP_EQ, n.loopback)
		b.compare(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, unix.NFT_CMP_NEQ, p)
		b.compare(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, unix.NFT_CMP_NEQ, p)
		b.compare(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, unix.NFT_CMP_NEQ, nobody) // its refusal is tracked back
		b.expr("notrack", nil)
	})
	b.rule("refuse connections to the listener itself (redirect)", family, capture, func() {
		b.tcp()
		b.compare(unix.NFT_PAYLOAD_NETWORK_HEADER, n.destination, unix.NFT_CMP_EQ, n.loopback)
		b.compare(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, unix.NFT_CMP_EQ, p)
		b.redirect(nobody)
	})
	b.rule("redirect connections (redirect)", family, capture, func() {
		b.tcp()
		b.compare(unix.NFT_PAYLOAD_NETWORK_HEADER, n.destination, unix.NFT_CMP_NEQ, n.loopback)
		b.redirect(p)
	})
}

func (b *batch) tcp() {
	b.expr("meta", func() {
		b.be32(unix.NFTA_META_KEY, unix.NFT_META_L4PROTO)
		b.be32(unix.NFTA_META_DREG, unix.NFT_REG_1)
	})
	b.cmp(unix.NFT_CMP_EQ, []byte{unix.IPPROTO_TCP})
}

func (b *batch) redirect(port []byte) {
	b.expr("immediate", func() {
		b.be32(unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_1)
		b.nest(unix.NFTA_IMMEDIATE_DATA, func() { b.attr(unix.NFTA_DATA_VALUE, port...) })
	})
	b.expr("redir", func() { b.be32(unix.NFTA_REDIR_REG_PROTO_MIN, unix.NFT_REG_1) })
}

func (b *batch) message(typ uint16, what string, family byte, fill func()) {
	b.begin(what, unix.NFNL_SUBSYS_NFTABLES<<8|typ, unix.NLM_F_ACK|unix.NLM_F_CREATE, generic(family, 0)...)
	fill()
	b.done()
}

func (b *batch) chain(family byte, name, kind string, priority int32) {
	b.message(unix.NFT_MSG_NEWCHAIN, "make a "+kind+" chain", family, func() {
		b.text(unix.NFTA_CHAIN_TABLE, table)
		b.text(unix.NFTA_CHAIN_NAME, name)
		b.nest(unix.NFTA_CHAIN_HOOK, func() {
			b.be32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_LOCAL_OUT)
			b.be32(unix.NFTA_HOOK_PRIORITY, uint32(priority))
		})
		b.text(unix.NFTA_CHAIN_TYPE, kind)
		b.be32(unix.NFTA_CHAIN_POLICY, accept)
	})
}

func (b *batch) rule(what string, family byte, chain string, fill func()) {
	b.message(unix.NFT_MSG_NEWRULE, what, family, func() {
		b.text(unix.NFTA_RULE_TABLE, table)
		b.text(unix.NFTA_RULE_CHAIN, chain)
		b.nest(unix.NFTA_RULE_EXPRESSIONS, fill)
	})
}

// expr adds an expression to a rule.
func (b *batch) expr(name string, fill func()) {
	b.nest(unix.NFTA_LIST_ELEM, func() {
		b.text(unix.NFTA_EXPR_NAME, name)
		if fill != nil {
			b.nest(unix.NFTA_EXPR_DATA, fill)
		}
	})
}

// compare goes on with the rule only if the bytes of a header compare with value.
func (b *batch) compare(header, offset, op uint32, value []byte) {
	b.expr("payload", func() {
		b.be32(unix.NFTA_PAYLOAD_DREG, unix.NFT_REG_1)
		b.be32(unix.NFTA_PAYLOAD_BASE, header)
		b.be32(unix.NFTA_PAYLOAD_OFFSET, offset)
		b.be32(unix.NFTA_PAYLOAD_LEN, uint32(len(value)))
	})
	b.cmp(op, value)
}

func (b *batch) cmp(op uint32, value []byte) {
	b.expr("cmp", func() {
		b.be32(unix.NFTA_CMP_SREG, unix.NFT_REG_1)
		b.be32(unix.NFTA_CMP_OP, op)
		b.nest(unix.NFTA_CMP_DATA, func() { b.attr(unix.NFTA_DATA_VALUE, value...) })
	})
}
