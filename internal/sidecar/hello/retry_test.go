package hello

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
)

func TestRetryRandom(t *testing.T) {
	if retryRandom != sha256.Sum256([]byte("HelloRetryRequest")) {
		t.Error("it is not what RFC 8446 says")
	}
}

// shares is a client that offers two groups and a share of X25519 only.
func shares() *tls.Config {
	return &tls.Config{ServerName: "a.test", CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}, InsecureSkipVerify: true}
}

// answer is what crypto/tls's server writes first to that client.
func answer(t testing.TB, groups ...tls.CurveID) []byte {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, CurvePreferences: groups}
	c := &scripted{reply: func(said []byte) []byte {
		server := &scripted{reply: func([]byte) []byte { return nil }, rest: said}
		tls.Server(server, cfg).Handshake()
		return server.said
	}}
	tls.Client(c, shares()).Handshake()
	return c.all
}

// scripted is a connection that answers what was said first.
type scripted struct {
	fixed
	reply     func(said []byte) []byte
	said      []byte
	rest, all []byte // of the answer
}

func (c *scripted) Write(b []byte) (int, error) {
	first := c.said == nil
	if c.said = append(c.said, b...); first && c.rest == nil {
		c.rest = c.reply(c.said)
		c.all = c.rest
	}
	return len(b), nil
}

func (c *scripted) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// tells reports what Retries makes of b, and that it is the same whatever comes
// behind, and not clear of any shorter beginning.
func tells(t *testing.T, b []byte, long bool) (again bool) {
	t.Helper()
	for i := range b {
		again, more := Retries(b[:i])
		if more {
			continue
		}
		for _, behind := range [][]byte{b, append(bytes.Clone(b[:i]), 22), append(bytes.Clone(b[:i]), "\x15\x03\x03\x00\x02\x01\x5a"...)} {
			if a, m := Retries(behind); a != again || m {
				t.Fatalf("after %d of %d bytes it is clear: %v; then it is %v, more %v", i, len(b), again, a, m)
			}
		}
		return again
	}
	again, more := Retries(b)
	if more && long {
		t.Fatalf("%d bytes are not enough: %x", len(b), b)
	}
	return again && !more
}

func TestRealServers(t *testing.T) {
	for name, tt := range map[string]struct {
		groups []tls.CurveID
		again  bool
	}{
		"one that takes the share": {[]tls.CurveID{tls.X25519}, false},
		"one that wants another":   {[]tls.CurveID{tls.CurveP384}, true},
		"one that speaks none":     {[]tls.CurveID{tls.CurveP521}, false},
	} {
		b := answer(t, tt.groups...)
		if got := tells(t, b, tt.again); got != tt.again {
			t.Errorf("%s: %v %x", name, got, b)
		}
	}
}

func serverHello(random [32]byte) []byte {
	return append(append([]byte{2, 0, 0, 38, 3, 3}, random[:]...), 0, 0x13, 1, 0)
}

func TestRetries(t *testing.T) {
	retry, usual := serverHello(retryRandom), serverHello([32]byte{1, 2})
	warning := []byte{21, 3, 3, 0, 2, 1, 112} // unrecognized_name, as older servers say
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	var bytewise, warnings []byte
	for i := range retry {
		bytewise = append(bytewise, record(retry[i:i+1])...)
		warnings = append(warnings, warning...)
	}
	for name, tt := range map[string]struct {
		b     []byte
		again bool
	}{
		"a retry":                   {record(retry), true},
		"a hello":                   {record(usual), false},
		"a retry in pieces":         {join(record(retry[:1]), record(retry[1:3]), record(retry[3:30]), record(retry[30:])), true},
		"a hello in pieces":         {join(record(usual[:1]), record(usual[1:3]), record(usual[3:30]), record(usual[30:])), false},
		"a retry in too many":       {bytewise, true},
		"a retry and more":          {record(join(retry, usual)), true},
		"a hello, then a retry":     {record(join(usual, retry)), false},
		"a retry after a warning":   {join(warning, record(retry)), true},
		"a hello after a warning":   {join(warning, record(usual)), false},
		"too many warnings":         {warnings, true},
		"a fatal alert":             {[]byte{21, 3, 3, 0, 2, 2, 40}, false},
		"a farewell":                {[]byte{21, 3, 3, 0, 2, 1, 0}, false},
		"an alert within":           {join(record(retry[:20]), warning, record(retry[20:])), true},
		"something else within":     {join(record(retry[:20]), []byte("HTTP/1.1")), true},
		"an alert that is none":     {[]byte{21, 3, 3, 0, 3, 1, 0, 0}, true},
		"an empty record":           {[]byte{22, 3, 3, 0, 0}, true},
		"a record too long":         {[]byte{22, 3, 3, 0x40, 1}, true},
		"a hello of a client":       {build(sni("a.test")), false},
		"a request for a hello":     {record([]byte{0, 0, 0, 0}), false},
		"text":                      {[]byte("HTTP/1.1 400 Bad Request\r\n"), false},
		"another version":           {[]byte{22, 4, 3, 0, 44}, true},
		"one whose random is close": {record(serverHello([32]byte(append(bytes.Clone(retryRandom[:31]), 0)))), false},
	} {
		if got := tells(t, tt.b, true); got != tt.again {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPassing(t *testing.T) {
	for name, tt := range map[string]struct {
		b    string
		size int
		more bool
	}{
		"nothing":        {"", 0, true},
		"a beginning":    {"\x17\x03\x03\x00", 0, true},
		"early data":     {"\x17\x03\x03\x01\x02x", 5 + 0x102, false},
		"a change":       {"\x14\x03\x03\x00\x01\x01", 6, false},
		"an alert":       {"\x15\x03\x03\x00\x02", 7, false},
		"a heartbeat":    {"\x18\x03\x03\x00\x00", 5, false},
		"a handshake":    {"\x16\x03\x03\x00\x01", 0, false},
		"its first byte": {"\x16", 0, false},
		"text":           {"G", 0, false},
		"a version":      {"\x17\x02", 0, false},
	} {
		if size, more := Passing([]byte(tt.b)); size != tt.size || more != tt.more {
			t.Errorf("%s: %d %v", name, size, more)
		}
	}
}

// FuzzRetries: when crypto/tls's client takes the bytes for a request for a second
// hello and sends one, that was seen; and nothing of it depends on how the bytes come.
func FuzzRetries(f *testing.F) {
	f.Add(answer(f, tls.CurveP384))
	f.Add(answer(f, tls.X25519))
	f.Add(append([]byte{21, 3, 3, 0, 2, 1, 112}, answer(f, tls.CurveP384)...))
	f.Add(record(serverHello(retryRandom)))
	odd := answer(f, tls.CurveP384)
	odd[1] = 7
	f.Add(odd)
	f.Fuzz(func(t *testing.T, b []byte) {
		again := tells(t, b, false)
		c := &scripted{reply: func(said []byte) []byte {
			const at = recordHeader + 4 + 2 + 32 // of the session id, which must be the client's
			b = bytes.Clone(b)
			if len(b) > at+33 && b[at] == 32 {
				copy(b[at+1:], said[at+1:at+33])
			}
			return b
		}}
		tls.Client(c, shares()).Handshake()
		if n := hellos(c.said); n > 1 && !again {
			t.Errorf("the client sent %d hellos, which was not seen: %x", n, b)
		}
	})
}

// hellos counts the ClientHellos in what a client wrote.
func hellos(b []byte) (n int) {
	for len(b) > 0 {
		if h, more, err := Read(b); err == nil && !more {
			n++
			b = b[h.Size:]
			continue
		}
		size, more := Passing(b)
		if more || size == 0 {
			break
		}
		b = b[size:]
	}
	return n
}

var _ net.Conn = (*scripted)(nil)

// TestSize: a hello takes its records and nothing behind them.
func TestSize(t *testing.T) {
	one := build(sni("a.test"))
	two := append(record(one[5:9]), record(one[9:])...)
	for _, b := range [][]byte{one, two} {
		for _, behind := range []string{"", "x", string(one)} {
			if h, more, err := Read(append(bytes.Clone(b), behind...)); more || err != nil || h.Size != len(b) {
				t.Errorf("%d bytes, %v %v, want %d", h.Size, more, err, len(b))
			}
		}
	}
}
