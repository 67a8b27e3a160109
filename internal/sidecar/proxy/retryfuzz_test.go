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

// standardHello is what crypto/tls's server reads; nil if that is no hello.
func standardHello(b []byte) (info *tls.ClientHelloInfo) {
	tls.Server(&pieces{says: b, size: 1 << 20}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errors.New("enough")
	}}).Handshake()
	return info
}
