package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/http1"
)

// pieces is a connection that says something in pieces and keeps what it is told.
type pieces struct {
	net.Conn
	says []byte
	size int
	got  bytes.Buffer
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.says) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.says)
	p.says = p.says[n:]
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error)     { return p.got.Write(b) }
func (p *pieces) SetReadDeadline(time.Time) error { return nil }
func (p *pieces) SetDeadline(time.Time) error     { return nil }
func (p *pieces) Close() error                    { return nil }

// FuzzSecondHello: whatever a client sends after a HelloRetryRequest, what reaches
// the server holds no hello that crypto/tls reads another name from.
func FuzzSecondHello(f *testing.F) {
	var t testing.T
	good := helloBytes(&t, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }) // short
	evil := strings.Replace(good, "api.example.com", "evil.example.co", 1)
	for _, b := range []string{good, evil, changed + good, changed + evil, earlyData + inRecords(evil, 99), withECH(good), "x" + evil} {
		f.Add([]byte(b), byte(1), true)
		f.Add([]byte(b), byte(0), false)
	}
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo("")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, size byte, waits bool) {
		client, upstream := &pieces{says: b, size: 1 + int(size-1)}, &pieces{}
		tun := &tunnel{srv: s, client: client, upstream: upstream}
		o := newOpening(&intent.Call{Host: "api.example.com", Port: 443}, 0, http1.NewReader(client), false)
		o.first, tun.opening = 1, o
		if waits {
			o.hear([]byte(retryRequest))
		}
		tun.attend()
		if _, late := o.hear([]byte(retryRequest)); late != "" {
			return // cut, at the latest when the server asks
		}
		rest := upstream.got.Bytes()
		if !bytes.HasPrefix(b, rest) {
			t.Fatalf("%x arrived", rest)
		}
		for len(rest) >= 5 && rest[0] != 22 {
			rest = rest[min(len(rest), 5+int(rest[3])<<8+int(rest[4])):]
		}
		if info := standardHello(rest); info != nil && !strings.EqualFold(info.ServerName, "api.example.com") {
			t.Fatalf("a hello for %q arrived", info.ServerName)
		}
	})
}

// FuzzBehindHello: of what a client sends with its ClientHello and behind it, cut
// anywhere, the server gets a part from the beginning on, each byte once, and all of it
// unless the tunnel ends. How far it goes does not hang on the cuts.
func FuzzBehindHello(f *testing.F) {
	var t testing.T
	good := helloBytes(&t, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} })
	evil := strings.Replace(good, "api.example.com", "evil.example.co", 1)
	long := "\x17\x03\x03\xff\xff" + strings.Repeat("e", 0xffff)
	for _, b := range []string{"", "x" + evil, good, evil, changed + good + "more", changed + evil, earlyData + earlyData, earlyData + inRecords(evil, 99), earlyData[:8], "\x17", changed + "\x16", withECH(good), long + changed + evil} {
		for size := range uint16(4) {
			f.Add([]byte(b), size*uint16(len(good)/2+3), size%2 == 0)
		}
	}
	s, err := New(Config{Enforcer: &enforcer{}, Dialer: dialTo("")})
	if err != nil {
		f.Fatal(err)
	}
	open := func(t *testing.T, says []byte, size int, asked bool) (got []byte, on bool) {
		client, upstream := &pieces{says: says, size: size}, &pieces{}
		tun := &tunnel{srv: s, client: client, upstream: upstream}
		o := newOpening(&intent.Call{Host: "api.example.com", Port: 443}, 0, http1.NewReader(client), false)
		tun.opening = o
		if asked {
			o.hear([]byte(retryRequest))
		}
		on = tun.open() && tun.attend()
		got = upstream.got.Bytes()
		if !bytes.HasPrefix(says, got) || tun.sent != int64(len(got)) {
			t.Fatalf("%d bytes were counted, %x arrived", tun.sent, got)
		}
		if on && (len(got)+len(client.says) != len(says) || o.due != 0 || len(o.in.Buffered()) > 0) {
			t.Fatalf("of %d bytes %d arrived, %d are to be carried, %d are due", len(says), len(got), len(client.says), o.due)
		}
		return append(got, client.says...), on
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint16, asked bool) {
		says := append([]byte(good), b...)
		got, on := open(t, says, 1+int(size), asked)
		if len(got) < len(good) {
			t.Fatal("a good hello did not arrive")
		}
		if _, once := open(t, says, len(says), asked); asked && on != once {
			t.Fatalf("goes on: %v in pieces of %d, %v at once", on, 1+int(size), once)
		}
		if !asked || !on {
			return
		}
		rest := got[len(good):]
		for len(rest) >= 5 && rest[0] != 22 {
			rest = rest[min(len(rest), 5+int(rest[3])<<8+int(rest[4])):]
		}
		if info := standardHello(rest); info != nil && !strings.EqualFold(info.ServerName, "api.example.com") {
			t.Fatalf("a hello for %q arrived", info.ServerName)
		}
	})
}

// standardHello is what crypto/tls's server reads; nil if that is no hello.
func standardHello(b []byte) (info *tls.ClientHelloInfo) {
	tls.Server(&pieces{says: b, size: 1 << 20}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errors.New("enough")
	}}).Handshake()
	return info
}
