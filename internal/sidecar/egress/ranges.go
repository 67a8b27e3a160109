package egress

import (
	"net/netip"
	"sync"
)

// span is one line of the special-purpose address registries.
type span struct {
	prefix netip.Prefix
	class  Class
}

func lookup(spans []span, addr netip.Addr, fallback Class) Class {
	for i := range spans {
		if spans[i].prefix.Contains(addr) {
			return spans[i].class
		}
	}
	return fallback
}

func spans(class Class, prefixes ...string) []span {
	out := make([]span, len(prefixes))
	for i, p := range prefixes {
		out[i] = span{netip.MustParsePrefix(p), class}
	}
	return out
}

func join(lists ...[]span) (out []span) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// ranges4 and ranges6 follow the IANA IPv4 and IPv6 Special-Purpose Address
// Registries; the first match counts. They are built on first use.
var ranges4 = sync.OnceValue(func() []span {
	return join(
		spans(Unspecified, "0.0.0.0/8"),
		spans(Loopback, "127.0.0.0/8"),
		spans(Private, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
		spans(CGNAT, "100.64.0.0/10"),
		spans(LinkLocal, "169.254.0.0/16"),
		spans(Multicast, "224.0.0.0/4", "255.255.255.255/32"),
		spans(Benchmark, "198.18.0.0/15"),
		spans(Documentation, "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
		spans(Reserved, "192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4"),
	)
})

var ranges6 = sync.OnceValue(func() []span {
	return join(
		spans(Unspecified, "::/128"),
		spans(Loopback, "::1/128"),
		spans(V4Compatible, "::/96", "::ffff:0:0:0/96"),
		spans(NAT64, "64:ff9b::/96"),
		spans(NAT64Local, "64:ff9b:1::/48"),
		spans(Teredo, "2001::/32"),
		spans(Benchmark, "2001:2::/48"),
		spans(Documentation, "2001:db8::/32", "3fff::/20"),
		spans(Reserved, "2001::/23"),
		spans(SixToFour, "2002::/16"),
		spans(ULA, "fc00::/7"),
		spans(LinkLocal, "fe80::/10"),
		spans(SiteLocal, "fec0::/10"),
		spans(Multicast, "ff00::/8"),
	)
})

type addrSet map[netip.Addr]struct{}

func (s addrSet) has(a netip.Addr) bool { _, ok := s[a]; return ok }

// metadataAddrs are the addresses at which clouds hand out credentials to
// whoever can reach them: AWS (instances, ECS tasks, EKS pods), Azure (and its
// host agent), Google, OpenStack, Oracle, Alibaba, Tencent, Scaleway.
var metadataAddrs = sync.OnceValue(func() addrSet {
	set := addrSet{}
	for _, s := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42",
		"100.100.100.200", "192.0.0.192", "168.63.129.16",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fe80::a9fe:a9fe",
	} {
		set[netip.MustParseAddr(s)] = struct{}{}
	}
	return set
})

// metadataNames are refused without asking any resolver; so is every name below
// them.
var metadataNames = []string{
	"metadata.google.internal", "metadata.goog", "metadata", "metadata.azure.internal",
	"instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com", "metadata.platformequinix.com",
	"metadata.packet.net", "rancher-metadata",
}
