package corpus

import "fmt"

// authorities are what a target may say about host and port.
func authorities() []entry {
	to := func(a string) string { return "GET http://" + a + "/x HTTP/1.0\r\n\r\n" }
	var all []entry
	for a, h := range map[string]string{
		"A.TEST": "a.test", "a.test.": "a.test", "a.test:80": "a.test", "a.test:8080": "a.test:8080", "ａ.test": "a.test", "a。test": "a.test", "a\u200b.test": "a.test", "bücher.test": "xn--bcher-kva.test", "BÜCHER.test": "xn--bcher-kva.test", "bu\u0308cher.test": "xn--bcher-kva.test", "XN--BCHER-KVA.test": "xn--bcher-kva.test", "[2001:db8::1]": "[2001:db8::1]", "[2001:DB8:0:0::1]": "[2001:db8::1]", "[2001:db8::0.0.0.1]": "[2001:db8::1]", "[2001:db8::1]:8080": "[2001:db8::1]:8080",
		"9.9.9.9": "9.9.9.9", "9.592137": "9.9.9.9", "0x09090909": "9.9.9.9", "011.011.011.011": "9.9.9.9", "151587081": "9.9.9.9", "9.9.9.9.": "9.9.9.9", "９.9.9.9": "9.9.9.9", "0x9.9.0x909": "9.9.9.9",
	} {
		all = append(all, sends(a, to(a), "GET "+h+" /x").by(forward))
	}
	for _, a := range []string{"", ":80", "@a.test", "a.test@", "u@a.test", "u:p@a.test", "b.test:80@a.test", "a.test:80@b.test", "a.test%40b.test", "b.test%2f@a.test", "b.test\\@a.test", "a.test:", "a.test:00080", "a.test:+80", "a.test:-80", "a.test:0", "a.test:65536", "a.test:4294967376", "a.test:80a", "a.test:8_0", "a.test:0x50", "a.test:８０", "a.test:80:80", "a.test:%38%30", "a.test: 80",
		"a..test", ".a.test", "a.test..", ".", "..", "-a.test", "a-.test", "a%2etest", "%61.test", "a.test%00", "a.test%2eb.test", "a.test%", "a.test%0a", "a.test;b", "a.test,b.test", "a!test", "a$test", "a&test", "a'test", "(a.test)", "a*test", "*.test", "a+test", "a=test", "a~test", "a|test", "a^test", "a`test", "{a.test}", "<a.test>", "\"a.test\"", "a.test\\", "a.test\\.b.test", "\xff.test", "a.t\xc0\xaest", "a\u202etest", "a\u00ad-.test", "\u0430.test/../\u0430", "xn--a", "xn--a.test", "xn--.test", "xn--bücher.test", "xn--bcher-kv.test", "xn--a-ecp.ru-", "[", "]", "[]", "[::1", "::1", "2001:db8::1", "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]80", "[2001:db8::1]a.test", "a[2001:db8::1]", "[2001:db8::1%25eth0]", "[fe80::1%eth0]", "[fe80::1%25lo]", "[v1.x]", "[9.9.9.9]", "[a.test]", "[:::1]", "[1::2::3]", "[12345::]", "[::ffff:999.0.0.1]", "[[::1]]", "[::1]:", "[::1]:+80", "[::g]",
		"9.9.9.256", "9.9.9.9.9", "4294967296", "0x100000000", "09.9.9.9", "9.9.9.0x1ff", "9.9..9", "1.2.3.4x.5", "0x9g.1", "a.1", "a.0x1", "4446458121", "0x4141414109090909", "265.265.265.265", "9.9.9.9:", "99999999999999999999"} {
		all = append(all, refuses("refused "+fmt.Sprintf("%.30q", a), to(a)).by(forward))
	}
	return all
}

// addresses that may not be dialled, in every spelling.
func addresses() []entry {
	to := func(a string) string { return "GET http://" + a + "/x HTTP/1.0\r\n\r\n" }
	var all []entry
	for _, a := range []string{"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "017700000001", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "127.0.0.2", "127.255.255.254", "127.65535", "0", "0.0.0.0", "0x0", "00", "0.0", "1", "１２７.0.0.1", "127。0。0。1", "①②⑦.0.0.1", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:0001::1]", "[::ffff:0:127.0.0.1]", "[2001:0:7f00:1::]", "[fe80::1]", "[fc00::1]", "[fd00::1]", "[ff02::1]", "[fec0::1]", "[100::1]",
		"10.0.0.1", "10.1", "167772161", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.1", "0xc0a80001", "0300.0250.0.1", "100.64.0.1", "100.127.255.255", "169.254.1.1", "198.18.0.1", "192.0.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "0xffffffff", "037777777777", "[::ffff:10.0.0.1]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::]", "[::ffff:192.168.0.1]", "[::ffff:100.64.0.1]",
		"169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "0251.254.169.254", "169.254.43518", "169.16689662", "169.254.169.254.", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[2002:a9fe:a9fe::]", "[::169.254.169.254]", "[fd00:ec2::254]", "168.63.129.16", "100.100.100.200", "[fd20:ce::254]", "metadata.google.internal.", "x.metadata", "METADATA.packet.net", "rancher-metadata"} {
		all = append(all, denies("GET "+a, "DestinationForbidden", to(a)).by(forward))
	}
	return all
}

func paths() []entry {
	at := func(p string) string { return get("{T}" + p) }
	var all []entry
	for p, c := range map[string]string{
		"/": "/", "/x/": "/x/", "/x//y": "/x/y", "//x": "/x", "///": "/", "/./x": "/x", "/x/.": "/x/", "/x/..": "/", "/a/../x": "/x", "/a/b/../../x": "/x", "/a/./b/../x": "/a/x", "/%2e/x": "/x", "/a/%2e%2e/x": "/x", "/a/%2E%2e/x": "/x", "/a/.%2e/x": "/x", "/a/%2e./x": "/x", "/a//../x": "/x", "/a/..//x": "/x",
		"/%78": "/x", "/%7e": "/~", "/%7Ex": "/~x", "/a%3ab": "/a:b", "/a%40b": "/a@b", "/%c3%a9": "/%C3%A9", "/é": "/%C3%A9", "/a%20b": "/a%20b", "/a%2Bb": "/a%2Bb", "/a+b": "/a+b", "/@s%2fn": "/@s%2Fn", "/...": "/...", "/.x": "/.x", "/..x": "/..x", "/x..": "/x..", "/a%22b": "/a%22b", "/a\"b": "/a%22b", "/a<b>": "/a%3Cb%3E", "/a|b": "/a%7Cb", "/{a}": "/%7Ba%7D", "/a^b": "/a%5Eb", "/a`b": "/a%60b", "/[a]": "/%5Ba%5D", "/a%23b": "/a%23b", "/a%3Fb": "/a%3Fb", "/a%25b": "/a%25b", "/a%252Fb": "/a%252Fb", "/a%2520b": "/a%2520b", "/A": "/A", "/x;v=1": "/x;v=1", "/x%3bv": "/x%3Bv", "/http://b.test/": "/http:/b.test/",
	} {
		all = append(all, sends(fmt.Sprintf("sent %q", p), at(p), "GET a.test "+c))
	}
	for _, p := range []string{"/..", "/../x", "/../../etc/passwd", "/a/../../x", "/%2e%2e/x", "/.%2e/x", "/%2e%2e", "/..;/x", "/a/..;/x", "/a/..;x=1/x", "/a/.;/x", "/a/%2e%2e;/x", "/a/..%3b/x", "/a/%2e%2e%3B/x", "/a/..%2fx", "/a/%2e%2e%2fx", "/a%2f../x", "/..%2fx", "/%2fx", "/a%2f", "/a%2f%2fx", "/a%2f.%2fx", "/a%2f..%2fx", "/a%2F%2e%2e%2Fx", "/a/%2fx", "/%2f%2fb.test", "/a\\b", "/a/..\\x", "/..\\x", "/\\x", "/a%5cb", "/a/..%5cx", "/a/%2e%2e%5cx", "/%5c..%5cx", "/a%00", "/%00", "/x%00.txt", "/a%0d%0ax", "/a%0a", "/a%0d", "/a%09", "/a%7f", "/a%1b", "/a%01", "/%", "/%2", "/%zz", "/%u002e", "/%u002e%u002e/x", "/%%32%65", "/%2%65", "/% 2e", "/%c0%ae%c0%ae/x", "/%c0%af", "/%e0%80%ae", "/%e0%80%af", "/%f0%80%80%ae", "/%f8%80%80%80%ae", "/%fc%80%80%80%80%ae", "/%c1%9c", "/%c0%2f", "/%ff", "/%ed%a0%80", "/\xc0\xae\xc0\xae/x", "/\xc0\xaf", "/\xff", "/%80", "/%c3", "/%252e%252e/x", "/a/%252e%252e%252fx", "/%2561dmin/x", "/%25%36%31dmin", "/%25252e%25252e/x", "/..%252fx", "/a/..%20/x", "/a/.%20/x", "/a%2f..%20%2fx", "/a%252f..%252fx", "/%252fx", "/%255cx", "/x%2500", "/%250d%250aX", "/a b", "/a\tb", "/a\x00b", "/a#b", "/#"} {
		all = append(all, refuses(fmt.Sprintf("refused %.40q", p), at(p)))
	}
	for _, p := range []string{"/admin", "/admin/", "/admin/x", "//admin/x", "/./admin/x", "/a/../admin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/admin%2fx", "/admin/./x", "/x/%2e%2e/admin", "/admin;v=1/x", "/;/admin/x", "/;x=1/admin", "/admin%3bx/y", "/admin%3Fx", "/admin%3f", "/admin/a%23x", "/admin%23", "/admin;x%3F", "/admin/..;x/"} {
		e := denies("forbidden "+p, "CapabilityNotFound", at(p))
		if p == "/admin/..;x/" {
			e.reason = ""
		}
		all = append(all, e)
	}
	return all
}

func queries() []entry {
	at := func(q string) string { return get("{T}/x?" + q) }
	var all []entry
	for q, c := range map[string]string{
		"a=b": "?a=b", "a=%62": "?a=b", "a=%20": "?a=%20", "a+b": "?a+b", "a=b&&c": "?a=b&&c", "a?b": "?a?b", "a=/../b": "?a=/../b", "a=%2f%2e": "?a=%2F.", "%C3%A9": "?%C3%A9", "\xc3\xa9": "?%C3%A9", "a=\"": "?a=%22", "a=<": "?a=%3C", "a={b}": "?a=%7Bb%7D", "a=b;c": "?a=b;c", "a=%0d%0a": "?a=%0D%0A", "a[]=b": "?a%5B%5D=b", "": "",
	} {
		all = append(all, sends(fmt.Sprintf("sent %q", q), at(q), "GET a.test /x"+c))
	}
	for _, q := range []string{"a=%00", "%00", "a=%", "a=%2", "a=%zz", "a=%u0041", "a#b", "a b", "a\tb", "a\x00b", "a\x01b", "a\x7fb", "a\\b", "a\rb"} {
		all = append(all, refuses(fmt.Sprintf("refused %q", q), at(q)))
	}
	return all
}
