package egress

import (
	"net/netip"
	"testing"
)

var classTable = []struct {
	addr string
	want Class
}{
	{"8.8.8.8", Public}, {"1.1.1.1", Public}, {"100.63.255.255", Public}, {"100.128.0.0", Public},
	{"172.15.255.255", Public}, {"172.32.0.0", Public}, {"192.0.1.1", Public}, {"198.17.255.255", Public},
	{"198.20.0.0", Public}, {"223.255.255.255", Public}, {"11.0.0.0", Public}, {"9.255.255.255", Public},
	{"0.0.0.0", Unspecified}, {"0.1.2.3", Unspecified}, {"::", Unspecified},
	{"127.0.0.1", Loopback}, {"127.255.255.254", Loopback}, {"::1", Loopback},
	{"10.0.0.0", Private}, {"10.255.255.255", Private}, {"172.16.0.1", Private}, {"172.31.255.255", Private},
	{"192.168.0.1", Private},
	{"100.64.0.0", CGNAT}, {"100.127.255.255", CGNAT},
	{"169.254.0.1", LinkLocal}, {"fe80::1", LinkLocal}, {"febf::1", LinkLocal}, {"fe80::1%eth0", LinkLocal},
	{"2606:4700::1%eth0", LinkLocal},
	{"169.254.169.254", Metadata}, {"169.254.170.2", Metadata}, {"100.100.100.200", Metadata},
	{"192.0.0.192", Metadata}, {"168.63.129.16", Metadata}, {"fd00:ec2::254", Metadata}, {"fd20:ce::254", Metadata},
	{"fe80::a9fe:a9fe", Metadata}, {"169.254.170.23", Metadata}, {"fd00:ec2::23", Metadata},
	{"::ffff:169.254.169.254", Metadata}, {"64:ff9b::a9fe:a9fe", Metadata}, {"64:ff9b:1::a9fe:a9fe", Metadata},
	{"2002:a9fe:a9fe::1", Metadata}, {"::169.254.169.254", Metadata}, {"::ffff:0:169.254.169.254", Metadata},
	{"2001:0:a9fe:a9fe::1", Metadata}, {"2001:0:4136:e378:8000:63bf:5601:5601", Metadata},
	{"2606:4700::5efe:a9fe:a9fe", Metadata},
	{"fc00::1", ULA}, {"fdff::1", ULA}, {"fec0::1", SiteLocal}, {"feff::1", SiteLocal},
	{"224.0.0.1", Multicast}, {"239.255.255.255", Multicast}, {"255.255.255.255", Multicast}, {"ff02::1", Multicast},
	{"198.18.0.1", Benchmark}, {"198.19.255.255", Benchmark}, {"2001:2::1", Benchmark},
	{"192.0.2.1", Documentation}, {"198.51.100.1", Documentation}, {"203.0.113.1", Documentation},
	{"2001:db8::1", Documentation}, {"3fff::1", Documentation}, {"3fff:fff::1", Documentation},
	{"240.0.0.1", Reserved}, {"192.0.0.1", Reserved}, {"192.88.99.1", Reserved}, {"100::1", Reserved},
	{"4000::1", Reserved}, {"5f00::1", Reserved}, {"2001:20::1", Reserved}, {"2001:10::1", Reserved},
	{"64:ff9c::1", Reserved},
	{"::10.0.0.1", V4Compatible}, {"::2", V4Compatible}, {"::8.8.8.8", V4Compatible}, {"::ffff:0:8.8.8.8", V4Compatible},
	{"::ffff:8.8.8.8", Public}, {"::ffff:10.0.0.1", Private}, {"::ffff:127.0.0.1", Loopback}, {"::ffff:7f00:1", Loopback},
	{"::ffff:0.0.0.0", Unspecified},
	{"64:ff9b::8.8.8.8", Public}, {"64:ff9b::10.0.0.1", NAT64}, {"64:ff9b::127.0.0.1", NAT64}, {"64:ff9b::", NAT64},
	{"64:ff9b:1::8.8.8.8", NAT64Local}, {"64:ff9b:1:ffff::1", NAT64Local},
	{"2002:808:808::1", SixToFour}, {"2002:7f00:1::", SixToFour},
	{"2001::1", Teredo}, {"2001:0:808:808::f7f7:f7f7", Teredo},
	{"2606:4700::5efe:10.0.0.1", ISATAP}, {"2606:4700::200:5efe:8.8.8.8", ISATAP},
	{"2606:4700::1111", Public}, {"2a00:1450::1", Public}, {"2001:200::1", Public}, {"2620:4f:8000::1", Public},
}

func TestClassify(t *testing.T) {
	for _, tt := range classTable {
		if got := Classify(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("Classify(%s) = %v, want %v", tt.addr, got, tt.want)
		}
	}
	if got := Classify(netip.Addr{}); got != Invalid {
		t.Errorf("zero address is %v", got)
	}
}

func TestEveryClassIsTestedAndNamed(t *testing.T) {
	seen := map[Class]bool{Invalid: true}
	for _, tt := range classTable {
		seen[tt.want] = true
	}
	for c := range classNames {
		if !seen[Class(c)] || Class(c).String() == "" {
			t.Errorf("class %d (%s) has no case or no name", c, Class(c))
		}
	}
}

// forms are all the ways an IPv4 address hides in an IPv6 one.
func forms(v4 [4]byte) map[string]netip.Addr {
	build := func(prefix string, at int, invert bool) netip.Addr {
		b := netip.MustParseAddr(prefix).As16()
		for i, x := range v4 {
			if invert {
				x = ^x
			}
			b[at+i] = x
		}
		return netip.AddrFrom16(b)
	}
	return map[string]netip.Addr{
		"mapped": build("::ffff:0:0", 12, false), "compatible": build("::", 12, false),
		"translated": build("::ffff:0:0:0", 12, false), "nat64": build("64:ff9b::", 12, false),
		"nat64 local": build("64:ff9b:1::", 12, false), "6to4": build("2002::1", 2, false),
		"teredo client": build("2001::", 12, true), "teredo server": build("2001::", 4, false),
		"isatap": build("2606:4700::5efe:0:0", 12, false),
	}
}

func FuzzClassify(f *testing.F) {
	for _, tt := range classTable {
		a := netip.MustParseAddr(tt.addr).As16()
		f.Add(a[:])
	}
	f.Add([]byte{169, 254, 169, 254})
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		c := Classify(addr)
		if c == Invalid || c.String() == "" {
			t.Fatalf("%v is %v", addr, c)
		}
		if !addr.Unmap().Is4() {
			return
		}
		v4 := addr.Unmap()
		for name, form := range forms(v4.As4()) {
			got := Classify(form)
			if c != Public && got == Public {
				t.Errorf("%s of %v (%v) is public", name, v4, c)
			}
			if c == Metadata && got != Metadata {
				t.Errorf("%s of metadata %v is %v", name, v4, got)
			}
		}
	})
}
