package intent_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"firma/internal/intent"
)

func TestCanonicalHostNames(t *testing.T) {
	for in, want := range map[string]string{
		"example.com":                         "example.com",
		"Example.COM":                         "example.com",
		"example.com.":                        "example.com",
		"localhost":                           "localhost",
		"_dmarc.a_b.test":                     "_dmarc.a_b.test",
		"r3---sn-4g5e6nez.media.test":         "r3---sn-4g5e6nez.media.test",
		"1password.test":                      "1password.test",
		"0xg":                                 "0xg",
		"127.0.0.1.nip.test":                  "127.0.0.1.nip.test",
		"bücher.test":                         "xn--bcher-kva.test",
		"BÜCHER.TEST":                         "xn--bcher-kva.test",
		"bu\u0308cher.test":                   "xn--bcher-kva.test",
		"xn--bcher-kva.test":                  "xn--bcher-kva.test",
		"XN--Bcher-KVA.test":                  "xn--bcher-kva.test",
		"straße.test":                         "xn--strae-oqa.test",
		"例え。テスト":                              "xn--r8jz45g.xn--zckzah",
		"ｅｘａｍｐｌｅ．ｃｏｍ":                         "example.com",
		"exam\u00adple.com":                   "example.com",
		"example.com\uff0e":                   "example.com",
		"ⓔxample.com":                         "example.com",
		strings.Repeat("a", 63) + ".test":     strings.Repeat("a", 63) + ".test",
		strings.Repeat("a.", 126) + "b":       strings.Repeat("a.", 126) + "b",
		strings.Repeat("a.", 126) + "b" + ".": strings.Repeat("a.", 126) + "b",
	} {
		got, addr, err := intent.CanonicalHost(in)
		if err != nil || got != want || addr.IsValid() {
			t.Errorf("CanonicalHost(%q) = %q, %v, %v; want the name %q", in, got, addr, err, want)
		}
	}
}

// The spellings of one address that curl, inet_aton or the URL standard accept
// (escapes.md, E9): none may pass for a name.
func TestCanonicalHostAddresses(t *testing.T) {
	const meta = "169.254.169.254"
	for in, want := range map[string]string{
		meta:                        meta,
		meta + ".":                  meta,
		"2852039166":                meta,
		"2852039166.":               meta,
		"0xA9FEA9FE":                meta,
		"0xa9fea9fe":                meta,
		"0Xa9FeA9fE.":               meta,
		"025177524776":              meta,
		"0251.0376.0251.0376":       meta,
		"00000251.0376.0251.000376": meta,
		"0xa9.0xfe.0xa9.0xfe":       meta,
		"169.254.43518":             meta,
		"169.16689662":              meta,
		"0xa9.0376.43518":           meta,
		"169.0xfe.0251.254":         meta,
		"１６９.254.169.254":           meta,
		"１６９。２５４。１６９。２５４":             meta,
		"①⑥⑨.254.169.254":             meta,
		"²852039166":                  meta,
		"0ｘＡ9FEA9FE":                  meta,
		"169.254.169.25\u00ad4":       meta,
		"𝟷𝟼𝟿.254.169.254":             meta,
		"127.1":                       "127.0.0.1",
		"127.0.1":                     "127.0.0.1",
		"0":                           "0.0.0.0",
		"0x":                          "0.0.0.0",
		"0x.0x.0":                     "0.0.0.0",
		"4294967295":                  "255.255.255.255",
		"255.255.65535":               "255.255.255.255",
		"010.0.0.1":                   "8.0.0.1",
		"[::1]":                       "::1",
		"::1":                         "::1",
		"[0:0:0:0:0:0:0:1]":           "::1",
		"[FD00:EC2::254]":             "fd00:ec2::254",
		"[::ffff:127.0.0.1]":          "127.0.0.1",
		"[::ffff:7f00:1]":             "127.0.0.1",
		"[0:0:0:0:0:FFFF:A9FE:A9FE]":  "169.254.169.254",
		"[::169.254.169.254]":         "::a9fe:a9fe",
		"[64:ff9b::169.254.169.254]":  "64:ff9b::a9fe:a9fe",
		"[2001:db8:0:0:1:0:0:1]":      "2001:db8::1:0:0:1",
		"[fe80::1]":                   "fe80::1",
		"[0000:0000::0000:0000:7f00]": "::7f00",
	} {
		got, addr, err := intent.CanonicalHost(in)
		if err != nil || got != want || addr != netip.MustParseAddr(want) {
			t.Errorf("CanonicalHost(%q) = %q, %v, %v; want %q", in, got, addr, err, want)
		}
	}
}

func TestCanonicalHostRefuses(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", "a..b", ".a", "a..", "a.test..", "-a.test", "a-.test", "a.-b",
		"a b", "a\tb", "a\x00b", "a\r\nb", "a/b", "a\\b", "a?b", "a#b", "a@b", "a%41", "a%2eb",
		"%31%36%39.254.169.254", "*.a.test", "*", "a*b", "a,b", "a;b", "a'b", "a\"b", "a<b", "a|b", "a~b", "a!b",
		"a:80", "a:b", "[", "]", "[]", "[a]", "[::1", "::1]", "[[::1]]", "[127.0.0.1]", "[::1].",
		"[fe80::1%eth0]", "[fe80::1%25eth0]", "fe80::1%eth0", "[::ffff:0251.0.0.1]", "[::ffff:127.0.0.1.]",
		"[1::2::3]", "[:::1]", "[12345::1]", "[v1.fe80::1]", "[::1]]",
		// A last label that is a number and no address (URL standard).
		"1.2.3.4.5", "256.1.1.1", "1.256.1", "1.1.1.256", "4294967296", "0x100000000", "08", "09.0.0.1",
		"0x1g.1", "a.0x", "a.0xff", "a.1", "foo.0251", "1..2", "127.0.0.0x100", "1.2.3.08", "1.2.65536",
		"99999999999999999999", "18446744073709551617", "18446744076561590782", "0x10000000000000001", "0x1.0x1000000000a9fea9fe", "0x" + strings.Repeat("f", 20), strings.Repeat("1", 300),
		"169.254.169.254..", "１６９.254.169.256",
		// International names.
		"xn--", "xn--a", "xn--abc-.test", "xn--example-.com", "xn--bcher-KVA\u00fc.test", "xn--99999999.test",
		"xn--bcher-kva8.test", "a\u200db.test", "\ufffd.test", "a\xffb.test", "a／b.test", "a．．b", "％41.test",
		"a＠b.test", "a：80", "a？b", "⓪x.0xff..", "a\u3002\u3002b", "ａ_é.test", "≠.test", "℀.test", "ⅩN--bcher-kva8.test",
		strings.Repeat("a", 64) + ".test", strings.Repeat("a.", 127) + "b", strings.Repeat("é", 600),
		strings.Repeat("ü", 60) + ".test",
	} {
		got, addr, err := intent.CanonicalHost(in)
		if err == nil {
			t.Errorf("CanonicalHost(%q) = %q, %v; want a refusal", in, got, addr)
		}
		if got != "" || addr.IsValid() {
			t.Errorf("CanonicalHost(%q) refused and still returned %q, %v", in, got, addr)
		}
	}
}

// Every address, whatever mixture of notations writes it, comes out as itself.
func TestCanonicalHostReadsEveryIPv4Notation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Uint32().Draw(t, "address")
		parts := rapid.IntRange(1, 4).Draw(t, "parts")
		text := spellIPv4(t, value, parts)
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], value)
		want := netip.AddrFrom4(b)
		got, addr, err := intent.CanonicalHost(text)
		if err != nil || got != want.String() || addr != want {
			t.Fatalf("CanonicalHost(%q) = %q, %v, %v; want %v", text, got, addr, err, want)
		}
	})
}

func spellIPv4(t *rapid.T, value uint32, parts int) string {
	var out []string
	for i := range parts {
		n := value >> (24 - 8*i) & 0xff
		if i == parts-1 {
			n = value & (0xffffffff >> (8 * i)) // the last part fills what is left
		}
		format := rapid.SampledFrom([]string{"%d", "0%o", "000%o", "0x%x", "0X%X", "0x00%x"}).Draw(t, "format")
		out = append(out, fmt.Sprintf(format, n))
	}
	return strings.Join(out, ".") + rapid.SampledFrom([]string{"", "."}).Draw(t, "dot")
}

func TestCanonicalHostDoesNotAllocateForCanonicalInput(t *testing.T) {
	for _, in := range []string{"api.github.com", "169.254.169.254", "2001:db8::1", "a_b.test."} {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = intent.CanonicalHost(in) }); n != 0 {
			t.Errorf("CanonicalHost(%q): %v allocations", in, n)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"example.com", "0xA9FEA9FE", "[::ffff:127.0.0.1]", "xn--bcher-kva.test",
		"１６９。254.169.254", "bücher.test.", "a_b", "xn--abc-", "fe80::1%eth0", "1.2.3.4.5", "0x", "ß.example", "a\u200c.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, addr, err := intent.CanonicalHost(s)
		if err != nil {
			return
		}
		checkHost(t, host, addr)
		again, addr2, err := intent.CanonicalHost(host)
		if err != nil || again != host || addr2 != addr {
			t.Fatalf("%q -> %q, then -> %q, %v, %v", s, host, again, addr2, err)
		}
	})
}

// checkHost states what a canonical host is without the code that makes it.
func checkHost(t *testing.T, host string, addr netip.Addr) {
	t.Helper()
	if addr.IsValid() {
		if addr.Zone() != "" || host != addr.String() {
			t.Fatalf("address %v is written %q", addr, host)
		}
		return
	}
	if host == "" || len(host) > 253 || host != strings.ToLower(host) || strings.HasSuffix(host, ".") {
		t.Fatalf("%q is not a canonical name", host)
	}
	if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		t.Fatalf("%q has a character that names do not have", host)
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		t.Fatalf("%q passes for a name and ends in a number", host)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		t.Fatalf("%q passes for a name and is an address", host)
	}
}

func TestSplitHostPort(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port uint16
	}{
		"a.test": {"a.test", 0}, "A.test.:80": {"a.test", 80}, "::1": {"::1", 0}, "[::1]": {"::1", 0}, "[0::1]:99": {"::1", 99},
		"0x7f.1:22": {"127.0.0.1", 22},
	} {
		host, port, err := intent.SplitHostPort(in)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("SplitHostPort(%q) = %q, %d, %v", in, host, port, err)
		}
	}
	for _, in := range []string{"", ":80", "a:", "a:0", "a:b:c", "http://a", "a/b", "u@a", "[::1", "::1:", "[::1]:", "*.a.test"} {
		if host, port, err := intent.SplitHostPort(in); err == nil {
			t.Errorf("SplitHostPort(%q) = %q, %d", in, host, port)
		}
	}
}
