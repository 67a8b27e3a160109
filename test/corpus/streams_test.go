package corpus

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// clientHello is what a TLS client begins with.
func clientHello(t *testing.T, name string) string {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		tls.Client(near, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		near.Close()
	}()
	buf := make([]byte, 16<<10)
	n, err := far.Read(buf)
	must(t, err)
	return string(buf[:n])
}

// stream is what a stream to a host begins with.
type stream struct {
	name, to, first string
	arrives         bool // the bytes themselves, in a tunnel
}

// TestStreams: a tunnel carries what its name says, and a stream that is looked
// into can't become anything else.
func TestStreams(t *testing.T) {
	b := start(t)
	hello := clientHello(t, "tunnel.test")
	split := func(s string) string { // over two records
		return s[:3] + "\x00\x01" + s[5:6] + s[:3] + string(binary.BigEndian.AppendUint16(nil, uint16(len(s)-6))) + s[6:]
	}
	plain := "GET /x HTTP/1.1\r\nHost: tunnel.test\r\n\r\n"
	all := []stream{
		{name: "TLS", to: "tunnel.test:443", first: hello, arrives: true},
		{name: "TLS in two records", to: "tunnel.test:443", first: split(hello), arrives: true},
		{name: "name in another case", to: "tunnel.test:443", first: strings.Replace(hello, "tunnel.test", "TUNNEL.test", 1), arrives: true},
		{name: "other name", to: "tunnel.test:443", first: clientHello(t, "evil.test")},
		{name: "other name in two records", to: "tunnel.test:443", first: split(clientHello(t, "evil.test"))},
		{name: "longer name", to: "tunnel.test:443", first: clientHello(t, "x.tunnel.test")},
		{name: "NUL in name", to: "tunnel.test:443", first: strings.Replace(hello, "tunnel.test", "tunnel\x00test", 1)},
		{name: "no name", to: "tunnel.test:443", first: clientHello(t, "")},
		{name: "HTTP at 443", to: "tunnel.test:443", first: plain},
		{name: "HTTP/2 preface at 443", to: "tunnel.test:443", first: http2.ClientPreface},
		{name: "SSH at 443", to: "tunnel.test:443", first: "SSH-2.0-x\r\n"},
		{name: "zeros at 443", to: "tunnel.test:443", first: strings.Repeat("\x00", 100)},
		{name: "SSLv2", to: "tunnel.test:443", first: "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + strings.Repeat("\x00", 40)},
		{name: "half a ClientHello", to: "tunnel.test:443", first: hello[:60]},
		{name: "record of nothing", to: "tunnel.test:443", first: "\x16\x03\x01\x00\x00"},
		{name: "ServerHello", to: "tunnel.test:443", first: "\x16\x03\x01\x00\x30\x02" + hello[6:60]},
		{name: "alert", to: "tunnel.test:443", first: "\x15\x03\x01\x00\x02\x01\x00"},
		{name: "application data", to: "tunnel.test:443", first: "\x17\x03\x03\x00\x02hi"},
		{name: "name twice", to: "tunnel.test:443", first: strings.Replace(hello, "\x00\x00\x00\x10\x00\x0e\x00\x00\x0btunnel.test", "\x00\x00\x00\x10\x00\x0e\x00\x00\x03a.b\x00\x00\x05cdefg", 1)},
		{name: "its name elsewhere", to: "tunnel.test:8443", first: hello, arrives: true},
		{name: "other protocol elsewhere", to: "tunnel.test:8443", first: "\x16\x01\x00\x00\x07\x00\x00\x00", arrives: true},
		{name: "other name elsewhere", to: "tunnel.test:8443", first: clientHello(t, "evil.test")},
		{name: "other name, version 4 elsewhere", to: "tunnel.test:8443", first: versioned(clientHello(t, "evil.test"), 4)},
		{name: "other name, version 0 elsewhere", to: "tunnel.test:8443", first: versioned(clientHello(t, "evil.test"), 0)},
		{name: "other name behind an alert elsewhere", to: "tunnel.test:8443", first: "\x15\x03\x01\x00\x02\x01\x64" + clientHello(t, "evil.test")},
		{name: "SSLv2 elsewhere", to: "tunnel.test:8443", first: "\x80\x1f\x01\x03\x03\x00\x06\x00\x00\x00\x10" + strings.Repeat("\x00", 22)},
		{name: "looked into: version 4", to: "a.test:443", first: versioned(clientHello(t, "a.test"), 4)},
		{name: "behind an alert", to: "tunnel.test:443", first: "\x15\x03\x01\x00\x02\x01\x64" + hello},
		{name: "empty record first", to: "tunnel.test:443", first: "\x16\x03\x01\x00\x00" + hello},
		{name: "HelloRequest first", to: "tunnel.test:443", first: "\x16\x03\x01\x00\x04\x00\x00\x00\x00" + hello},
		{name: "PROXY header first", to: "tunnel.test:443", first: "PROXY TCP4 9.9.9.9 9.9.9.9 1 443\r\n" + hello},
		{name: "looked into: other name", to: "a.test:443", first: hello},
		{name: "looked into: HTTP/2 in plaintext", to: "a.test:443", first: http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		{name: "looked into: HTTP/2 in plaintext, 80", to: "a.test:80", first: http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
		{name: "looked into: SSH", to: "a.test:443", first: "SSH-2.0-x\r\n"},
		{name: "looked into: binary", to: "a.test:80", first: "\x00\x01\x02\x03\x04\x05\x06\x07"},
		{name: "looked into: HTTP for another host", to: "a.test:80", first: "GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n"},
		{name: "looked into: bad HTTP", to: "a.test:80", first: "GET /x HTTP/1.1\nHost: a.test\n\n"},
		{name: "looked into: HTTP/0.9", to: "a.test:80", first: "GET /x\r\n"},
		{name: "looked into: lower case", to: "a.test:80", first: "get /x http/1.1\r\nHost: a.test\r\n\r\n"},
		{name: "looked into: empty lines first", to: "a.test:80", first: "\r\n\r\nGET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"},
		{name: "looked into: half a ClientHello", to: "a.test:443", first: clientHello(t, "a.test")[:60]},
	}
	if strings.Contains(all[18].first, "tunnel.test") {
		t.Fatal("the ClientHello does not hold its name as expected")
	}
	for _, s := range all {
		for _, way := range []string{"CONNECT", "SOCKS"} {
			t.Run(s.name+"/"+way, func(t *testing.T) { b.begin(t, way, s) })
		}
	}
	t.Logf("%d by 2 ways", len(all))
}

func (b *bench) begin(t *testing.T, way string, s stream) {
	t.Helper()
	b.origin.keep(true)
	defer b.origin.keep(false)
	b.origin.take()
	b.events()
	var nc net.Conn
	if way == "CONNECT" {
		nc = b.connect(t, s.to)
	} else {
		nc = b.dial()
		host, port, _ := strings.Cut(s.to, ":")
		p, err := strconv.ParseUint(port, 10, 16)
		must(t, err)
		io.WriteString(nc, socks5(host, uint16(p)))
		if _, err := io.ReadFull(nc, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	defer nc.Close()
	io.WriteString(nc, s.first)
	if s.arrives {
		nc.(*net.TCPConn).CloseWrite()
	}
	io.Copy(io.Discard, nc)
	got := strings.Join(b.origin.take(), "")
	if s.arrives {
		events := b.events()
		if got != s.first || len(denied(events)) > 0 {
			t.Errorf("arrived %q, want %q; denied %q", got, s.first, denied(events))
		}
		return
	}
	if events := b.untilDenied(); got != "" || len(denied(events)) != 1 {
		t.Errorf("arrived %q; denied %q", got, denied(events))
	}
}

// versioned changes the version of the record that a ClientHello begins with.
func versioned(hello string, major byte) string {
	return hello[:1] + string([]byte{major}) + hello[2:]
}

func socks5(host string, port uint16) string {
	return "\x05\x01\x00\x05\x01\x00\x03" + string(rune(len(host))) + host + string(binary.BigEndian.AppendUint16(nil, port))
}

// TestSOCKS: requests that are none, or for what may not be dialled.
func TestSOCKS(t *testing.T) {
	b := start(t)
	request := func(s string) string { return "\x05\x01\x00\x05\x01\x00" + s }
	name := func(s string) string { return request("\x03" + string([]byte{byte(len(s))}) + s + "\x01\xbb") }
	all := map[string]string{
		"version 4": "\x04\x01\x00\x50\x09\x09\x09\x09\x00", "version 4a": "\x04\x01\x00\x50\x00\x00\x00\x01\x00a.test\x00", "no methods": "\x05\x00", "only a password": "\x05\x01\x02", "other version behind": "\x05\x01\x00\x04\x01\x00\x01\x09\x09\x09\x09\x00\x50",
		"BIND": "\x05\x01\x00\x05\x02\x00\x01\x09\x09\x09\x09\x00\x50", "UDP": "\x05\x01\x00\x05\x03\x00\x01\x09\x09\x09\x09\x00\x50", "unknown command": "\x05\x01\x00\x05\x00\x00\x01\x09\x09\x09\x09\x00\x50", "reserved": "\x05\x01\x00\x05\x01\x01\x01\x09\x09\x09\x09\x00\x50", "unknown type": request("\x02abcd\x00\x50"), "empty name": name(""), "port 0": request("\x01\x09\x09\x09\x09\x00\x00"),
		"HTTP in TLS's place": "\x05\x01\x00GET / HTTP/1.1\r\n\r\n",
	}
	for _, n := range []string{"a.test\x00b.test", "a.test\x00", "\x00a.test", "a.test\r\n", "a.test ", " a.test", "a.test:443", "a.test/x", "u@a.test", "[::1]", "::1", "a..test", ".a.test", "a.test..", "a%2etest", "b\xc3\xbccher.test", "\u0430.test", "xn--a", "-a.test", strings.Repeat("a", 255), "127.0.0.1", "127.1", "0x7f.1", "2130706433", "0", "169.254.169.254", "2852039166", "9.9.9.256", "1.2.3.4.5", "metadata.google.internal"} {
		all["name "+fmt.Sprintf("%.20q", n)] = name(n)
	}
	for _, a := range []string{"127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"} {
		all["address "+a] = request("\x01" + string(net.ParseIP(a).To4()) + "\x00\x50")
	}
	for _, a := range []string{"::1", "::", "fe80::1", "fd00::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:7f00:1", "::7f00:1", "ff02::1"} {
		all["address "+a] = request("\x04" + string(net.ParseIP(a).To16()) + "\x00\x50")
	}
	for n, text := range all {
		t.Run(n, func(t *testing.T) {
			b.origin.take()
			b.events()
			nc := b.dial()
			defer nc.Close()
			io.WriteString(nc, text)
			got, _ := io.ReadAll(nc)
			if bytes.HasSuffix(got, []byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")) {
				t.Errorf("granted: %q", got)
			}
			if events := b.untilDenied(); len(denied(events)) != 1 || len(b.origin.take()) != 0 {
				t.Errorf("answered %q; on record %+v", got, events)
			}
		})
	}
	t.Logf("%d", len(all))
}

// frame is a WebSocket frame; mask is its key, nil for none.
func frame(first byte, payload string, mask []byte) string {
	b := []byte{first}
	bit := byte(0)
	if mask != nil {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	b = append(b, mask...)
	for i := range len(payload) {
		c := payload[i]
		if mask != nil {
			c ^= mask[i%4]
		}
		b = append(b, c)
	}
	return string(b)
}

// TestWebSockets: after an upgrade only frames pass, either way.
func TestWebSockets(t *testing.T) {
	b := start(t)
	total := 0
	for _, fromClient := range []bool{true, false} {
		mask, wrong := []byte(nil), []byte{1, 2, 3, 4}
		if fromClient {
			mask, wrong = []byte{1, 2, 3, 4}, nil
		}
		f := func(first byte, payload string) string { return frame(first, payload, mask) }
		long := func(first byte, form string) string { // a length in a given form
			if mask != nil {
				return string([]byte{first, form[0] | 0x80}) + form[1:] + string(mask)
			}
			return string([]byte{first}) + form
		}
		hi := f(0x81, "hi")
		for _, c := range []struct{ name, pass, bad string }{
			{"text", hi, ""}, {"binary", f(0x82, "\x00\xff"), ""}, {"ping and pong", f(0x89, "x") + f(0x8a, ""), ""}, {"fragments", f(0x01, "h") + f(0x89, "") + f(0x00, "i") + f(0x80, ""), ""}, {"long", f(0x82, strings.Repeat("a", 70000)), ""}, {"close", hi + f(0x88, "\x03\xe8bye"), ""}, {"close without code", f(0x88, ""), ""},
			{"HTTP", hi, "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"}, {"wrong masking", hi, frame(0x81, "hi", wrong)}, {"reserved bit 1", hi, f(0xc1, "hi")}, {"reserved bit 2", hi, f(0xa1, "hi")}, {"reserved bit 3", hi, f(0x91, "hi")}, {"opcode 3", hi, f(0x83, "hi")}, {"opcode 7", hi, f(0x87, "hi")}, {"opcode 11", hi, f(0x8b, "hi")}, {"opcode 15", hi, f(0x8f, "hi")},
			{"fragmented ping", hi, f(0x09, "x")}, {"fragmented close", hi, f(0x08, "")}, {"long ping", hi, f(0x89, strings.Repeat("a", 126))}, {"long close", hi, f(0x88, "\x03\xe8"+strings.Repeat("a", 130))}, {"continuation of nothing", hi, f(0x80, "x")}, {"message in a message", f(0x01, "h"), f(0x81, "i")},
			{"length not shortest", hi, long(0x82, "\x7e\x00\x05") + "hello"}, {"length not shortest, long", hi, long(0x82, "\x7f\x00\x00\x00\x00\x00\x00\x00\x05") + "hello"}, {"length negative", hi, long(0x82, "\x7f\xff\xff\xff\xff\xff\xff\xff\xff") + "hello"},
			{"half a close code", hi, f(0x88, "\x03")}, {"close code 0", hi, f(0x88, "\x00\x00")}, {"close code 999", hi, f(0x88, "\x03\xe7")}, {"close code 1004", hi, f(0x88, "\x03\xec")}, {"close code 1005", hi, f(0x88, "\x03\xed")}, {"close code 1006", hi, f(0x88, "\x03\xee")}, {"close code 1015", hi, f(0x88, "\x03\xf7")}, {"close code 2999", hi, f(0x88, "\x0b\xb7")}, {"close code 5000", hi, f(0x88, "\x13\x88")}, {"close code 65535", hi, f(0x88, "\xff\xff")},
			{"more behind close", f(0x88, "\x03\xe8"), hi},
		} {
			total++
			t.Run(fmt.Sprintf("%s/from client %v", c.name, fromClient), func(t *testing.T) {
				b.socket(t, fromClient, c.pass, c.bad)
			})
		}
	}
	t.Logf("%d", total)
}

func (b *bench) socket(t *testing.T, fromClient bool, pass, bad string) {
	t.Helper()
	a := reply{text: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", socket: true}
	if !fromClient {
		a.text += pass + bad
		a.socket, a.close = bad != "", bad == ""
	}
	b.origin.mu.Lock()
	b.origin.replies["/ws"] = a
	b.origin.mu.Unlock()
	b.origin.take()
	nc := b.dial()
	defer nc.Close()
	io.WriteString(nc, "GET http://a.test/ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(nc)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	if fromClient {
		io.WriteString(nc, pass)
		io.WriteString(nc, bad)
		if bad == "" {
			nc.(*net.TCPConn).CloseWrite()
		}
	}
	got, _ := io.ReadAll(in)
	seen, told := string(got), string(got)
	code := "\x03\xea" // 1002
	if !fromClient {
		seen = seen[:min(len(seen), len(pass))]
		told, code = told[len(seen):], "\x03\xf3" // 1011
	}
	closed := strings.HasPrefix(pass, "\x88")
	if (bad != "" && !closed) != (len(told) > 4 && told[0] == 0x88 && told[2:4] == code) {
		t.Errorf("the client was told %q", told)
	}
	if fromClient {
		b.origin.settle()
		_, seen, _ = strings.Cut(strings.Join(b.origin.take(), ""), "\r\n\r\n")
	}
	if seen != pass {
		t.Errorf("passed %.200q, want %.200q", seen, pass)
	}
}
