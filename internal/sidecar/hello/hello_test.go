package hello

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientHello is what crypto/tls's client says first.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		tls.Client(near, cfg).Handshake()
		near.Close()
	}()
	b := make([]byte, MaxSize)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	for { // net.Pipe hands a write over in one read, unless the buffer is small
		if _, more, _ := Read(b[:n]); !more {
			break
		}
		m, err := far.Read(b[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	far.Close()
	return b[:n]
}

// hello builds a ClientHello around extensions.
func build(extensions ...[]byte) []byte {
	ext := bytes.Join(extensions, nil)
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0, 2, 0x13, 0x01, 1, 0)
	body = append(append(body, byte(len(ext)>>8), byte(len(ext))), ext...)
	return record(message4(body))
}

func message4(body []byte) []byte {
	n := len(body)
	return append([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func record(content []byte) []byte {
	return append([]byte{22, 3, 1, byte(len(content) >> 8), byte(len(content))}, content...)
}

func ext(kind int, data ...byte) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func sni(name string) []byte {
	n := len(name)
	list := append([]byte{0, byte(n >> 8), byte(n)}, name...)
	return ext(0, append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)...)
}

func TestRealClients(t *testing.T) {
	h, more, err := Read(clientHello(t, &tls.Config{ServerName: "Api.Example.com", NextProtos: []string{"h2", "http/1.1"}}))
	if err != nil || more {
		t.Fatal(more, err)
	}
	if h.ServerName != "Api.Example.com" || !h.Names("api.example.com") || !slices.Equal(h.Protocols, []string{"h2", "http/1.1"}) || h.ECH {
		t.Errorf("%+v", h)
	}
	h, _, err = Read(clientHello(t, &tls.Config{ServerName: "127.0.0.1"}))
	if err != nil || h.ServerName != "" || h.Protocols != nil {
		t.Errorf("%+v %v", h, err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a.test": true, "A.TEST": true, "a.test.": false, "b.test": false, "": false, "a.tes": false, "a.test\x00": false,
		"\u212a.test": false, "A\x0eTEST": false,
	} {
		if h := (Hello{ServerName: name}); h.Names("a.test") != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if h := (Hello{ServerName: "\u212a.test"}); h.Names("k.test") {
		t.Error("the Kelvin sign is no k")
	}
}

func TestByteByByte(t *testing.T) {
	b := clientHello(t, &tls.Config{ServerName: "a.test"})
	for i := range b {
		if _, more, err := Read(b[:i]); !more || err != nil {
			t.Fatalf("%d of %d bytes: more %v, %v", i, len(b), more, err)
		}
	}
}

func TestSpreadOverRecords(t *testing.T) {
	msg := build(sni("a.test"))[recordHeader:]
	for _, size := range []int{len(msg)/maxRecords + 1, 20, 3000} {
		var b []byte
		for part := range slices.Chunk(msg, size) {
			b = append(b, record(part)...)
		}
		for i := range b {
			if _, more, err := Read(b[:i]); !more || err != nil {
				t.Fatalf("records of %d, %d bytes: more %v, %v", size, i, more, err)
			}
		}
		h, more, err := Read(b)
		if more || err != nil || h.ServerName != "a.test" {
			t.Errorf("records of %d: %+v %v %v", size, h, more, err)
		}
	}
	var b []byte
	for part := range slices.Chunk(msg, 1) {
		b = append(b, record(part)...)
	}
	if _, more, err := Read(b); more || err == nil {
		t.Error("one byte in each record is accepted")
	}
}

func TestECH(t *testing.T) {
	for _, kind := range []int{0xfe0d, 0xfe0a, 0xffce} {
		if h, _, err := Read(build(sni("a.test"), ext(kind, 0))); err != nil || !h.ECH {
			t.Errorf("%x: %+v %v", kind, h, err)
		}
	}
}

func TestLongNames(t *testing.T) {
	name := strings.Repeat("a", 300)
	if h, _, err := Read(build(sni(name))); err != nil || h.ServerName != name {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	good := build(sni("a.test"))
	change := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	two := append([]byte{0, 12}, append([]byte{0, 0, 3}, append([]byte("a.b"), append([]byte{0, 0, 3}, "c.d"...)...)...)...)
	for name, b := range map[string][]byte{
		"http":                    []byte("GET / HTTP/1.1\r\n\r\n"),
		"ssl 2 hello":             {0x80, 0x2e, 1, 3, 1},
		"alert":                   {21, 3, 3, 0, 2, 2, 0},
		"another version":         change(1, 4),
		"an empty record":         {22, 3, 1, 0, 0},
		"a record too long":       {22, 3, 1, 0x40, 1},
		"a server hello":          change(5, 2),
		"a message too long":      change(6, 1),
		"bytes after it":          record(append(bytes.Clone(good[5:]), 0)),
		"another message after":   record(append(bytes.Clone(good[5:]), good[5:]...)),
		"a name twice":            build(sni("a.test"), sni("b.test")),
		"two names in one":        build(ext(0, two...)),
		"an empty name":           build(sni("")),
		"an empty name list":      build(ext(0, 0, 0)),
		"an empty name extension": build(ext(0)),
		"a name of another type":  build(ext(0, 0, 4, 1, 0, 1, 'a')),
		"a cut-off name":          build(ext(0, 0, 4, 0, 0, 9, 'a')),
		"bytes after the name":    build(ext(0, 0, 4, 0, 0, 1, 'a', 'b')),
		"an unknown one twice":    build(ext(77), ext(77)),
		"a cut-off extension":     build([]byte{0, 77, 0, 9, 1}),
		"an empty protocol list":  build(ext(16, 0, 0)),
		"an empty protocol":       build(ext(16, 0, 1, 0)),
		"no ciphers":              record(message4(append(append([]byte{3, 3}, make([]byte, 32)...), 0, 0, 0, 1, 0))),
		"no compression":          record(message4(append(append([]byte{3, 3}, make([]byte, 32)...), 0, 0, 2, 1, 1, 0))),
		"nothing":                 record(message4(nil)),
		"bytes after extensions":  record(message4(append(bytes.Clone(good[9:]), 0))),
	} {
		h, more, err := Read(b)
		var e *Error
		if more || !errors.As(err, &e) || h.ServerName != "" {
			t.Errorf("%s: %+v %v %v", name, h, more, err)
		}
	}
	many := make([][]byte, 65)
	for i := range many {
		many[i] = ext(1000 + i)
	}
	if _, _, err := Read(build(many...)); err == nil {
		t.Error("65 extensions are accepted")
	}
}

// fixed is a connection that says some bytes and then nothing.
type fixed struct{ r io.Reader }

func (f fixed) Read(b []byte) (int, error)       { return f.r.Read(b) }
func (fixed) Write(b []byte) (int, error)        { return len(b), nil }
func (fixed) Close() error                       { return nil }
func (fixed) LocalAddr() net.Addr                { return nil }
func (fixed) RemoteAddr() net.Addr               { return nil }
func (fixed) SetDeadline(time.Time) error        { return nil }
func (fixed) SetReadDeadline(time.Time) error    { return nil }
func (fixed) SetWriteDeadline(t time.Time) error { return nil }

// asStandard is what crypto/tls's server reads from the same bytes; false if it
// takes them for no ClientHello.
func asStandard(b []byte) (info *tls.ClientHelloInfo, ok bool) {
	tls.Server(fixed{bytes.NewReader(b)}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errors.New("enough")
	}}).Handshake()
	return info, info != nil
}

// inRecords is the ClientHello that b begins with in records of other lengths.
func inRecords(b []byte, size int) (out []byte) {
	var content []byte
	for len(b) > 0 {
		n := int(b[3])<<8 | int(b[4])
		content = append(content, b[5:5+n]...)
		b = b[5+n:]
	}
	for piece := range slices.Chunk(content, size) {
		out = append(out, record(piece)...)
	}
	return out
}

// FuzzRead compares with crypto/tls: what is read here, it reads alike. How much of
// it has come and which records it is in changes nothing.
func FuzzRead(f *testing.F) {
	f.Add(clientHello(f, &tls.Config{ServerName: "a.test", NextProtos: []string{"h2"}}))
	f.Add(build(sni("a.test"), ext(0xfe0d, 0)))
	f.Add(build(sni("A.test"), ext(16, 0, 3, 2, 'h', '2')))
	f.Add(append(record(build(sni("a.test"))[5:20]), record(build(sni("a.test"))[20:])...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, more, err := Read(b)
		for i := range min(len(b), 600) {
			_, m, e := Read(b[:i])
			if e != nil && err == nil || m && e != nil {
				t.Fatalf("the first %d bytes are refused (%v), all are not", i, e)
			}
		}
		if more {
			if err != nil || len(b) > MaxSize+maxRecords*recordHeader {
				t.Fatalf("more after %d bytes, %v", len(b), err)
			}
			return
		}
		if err != nil {
			return
		}
		end := 0
		for more := true; more; { // what follows its records is not read
			end += recordHeader + int(b[end+3])<<8 + int(b[end+4])
			_, more, _ = Read(b[:end])
		}
		if b = b[:end]; h.Size != end {
			t.Fatalf("it takes %d bytes, not %d", end, h.Size)
		}
		for _, size := range []int{len(b)/maxRecords + 1, len(b)/2 + 1} {
			other := inRecords(b, size)
			want := h
			want.Size = len(other)
			again, more, err := Read(other)
			if more || err != nil || !reflect.DeepEqual(again, want) {
				t.Fatalf("%+v, in records of %d bytes %+v %v %v", h, size, again, more, err)
			}
		}
		info, ok := asStandard(b)
		if !ok {
			return // it is stricter about extensions that do not matter here
		}
		if info.ServerName != h.ServerName || !slices.Equal(info.SupportedProtos, h.Protocols) || slices.Contains(info.Extensions, extECH) && !h.ECH {
			t.Errorf("%+v, crypto/tls reads %q %q", h, info.ServerName, info.SupportedProtos)
		}
	})
}
