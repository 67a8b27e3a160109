package socks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func request(atyp byte, address string, port ...byte) []byte {
	b := []byte{5, 1, 0, atyp}
	if atyp == atypName {
		b = append(b, byte(len(address)))
	}
	return append(append(b, address...), port...)
}

func TestGreeting(t *testing.T) {
	for _, tt := range []struct {
		in  string
		n   int
		ok  bool
		bad bool
	}{
		{"", 0, false, false}, {"\x05", 0, false, false}, {"\x05\x02\x02", 0, false, false},
		{"\x05\x01\x00", 3, true, false}, {"\x05\x02\x02\x00xx", 4, true, false}, {"\x05\x01\x02", 3, false, false},
		{"\x05\x00", 0, false, true}, {"\x04\x01", 0, false, true}, {"\x06", 0, false, true},
	} {
		n, ok, err := Greeting([]byte(tt.in))
		if n != tt.n || ok != tt.ok || (err != nil) != tt.bad {
			t.Errorf("%q: %d %v %v", tt.in, n, ok, err)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		in   []byte
		want Request
	}{
		{request(atypName, "Api.example.com", 1, 0xbb), Request{Host: "Api.example.com", Port: 443}},
		{request(atypName, "127.0.0.1", 0, 80), Request{Host: "127.0.0.1", Port: 80}},
		{request(atypIPv4, "\x7f\x40\x00\x01", 0, 80), Request{Addr: netip.MustParseAddr("127.64.0.1"), Port: 80}},
		{request(atypIPv6, strings.Repeat("\x00", 15)+"\x01", 0, 80), Request{Addr: netip.MustParseAddr("::1"), Port: 80}},
		{request(atypName, strings.Repeat("a", 255), 0, 80), Request{Host: strings.Repeat("a", 255), Port: 80}},
	} {
		for i := range tt.in {
			if _, n, err := ReadRequest(tt.in[:i]); n != 0 || err != nil {
				t.Errorf("%d bytes of %q: %d %v", i, tt.in, n, err)
			}
		}
		r, n, err := ReadRequest(append(bytes.Clone(tt.in), "next"...))
		if err != nil || n != len(tt.in) || r != tt.want {
			t.Errorf("%q: %+v %d %v", tt.in, r, n, err)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []byte
		code byte
	}{
		"version 4":       {[]byte{4, 1, 0, 80, 1, 2, 3, 4, 0}, GeneralFailure},
		"BIND":            {[]byte{5, 2}, CommandNotSupported},
		"UDP ASSOCIATE":   {[]byte{5, 3, 0, 1, 0, 0, 0, 0, 0, 0}, CommandNotSupported},
		"command 0":       {[]byte{5, 0}, CommandNotSupported},
		"reserved byte":   {[]byte{5, 1, 1}, GeneralFailure},
		"address type":    {[]byte{5, 1, 0, 2}, AddrTypeNotSupported},
		"address type, 2": {[]byte{5, 1, 0, 0, 0, 0}, AddrTypeNotSupported},
		"empty name":      {request(atypName, "", 0, 80), GeneralFailure},
		"NUL":             {request(atypName, "evil.test\x00.allowed.test", 0, 80), GeneralFailure},
		"colon":           {request(atypName, "a.test:80", 0, 80), GeneralFailure},
		"bracket":         {request(atypName, "[::1]", 0, 80), GeneralFailure},
		"at":              {request(atypName, "a@b.test", 0, 80), GeneralFailure},
		"slash":           {request(atypName, "a.test/", 0, 80), GeneralFailure},
		"space":           {request(atypName, "a.test ", 0, 80), GeneralFailure},
		"CR":              {request(atypName, "a.test\r\n", 0, 80), GeneralFailure},
		"beyond ASCII":    {request(atypName, "b\u00fccher.test", 0, 80), GeneralFailure},
		"port 0":          {request(atypName, "a.test", 0, 0), GeneralFailure},
	} {
		r, n, err := ReadRequest(tt.in)
		var e *Error
		if !errors.As(err, &e) || e.Code != tt.code || n != 0 {
			t.Errorf("%s: %+v %d %v", name, r, n, err)
		}
	}
}

// again is the request for r as a client writes it.
func again(r Request) []byte {
	b := []byte{Version5, cmdConnect, 0, atypName}
	if r.Host != "" {
		b = append(append(b, byte(len(r.Host))), r.Host...)
	} else {
		b[3] = atypIPv4
		if r.Addr.Is6() {
			b[3] = atypIPv6
		}
		b = append(b, r.Addr.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(b, r.Port)
}

// FuzzRead: whatever comes, what is accepted is one destination and no more bytes
// than there are, and says all that was said: written again it is the same.
func FuzzRead(f *testing.F) {
	f.Add([]byte("\x05\x01\x00"), request(atypName, "a.test", 0, 80))
	f.Add([]byte("\x05\x02\x00\x02"), request(atypIPv4, "abcd", 0, 80))
	f.Add([]byte("\x04"), request(atypIPv6, "abcdabcdabcdabcd", 1, 2))
	f.Fuzz(func(t *testing.T, greeting, b []byte) {
		if n, ok, err := Greeting(greeting); n > len(greeting) || ok && n == 0 || err != nil && n != 0 {
			t.Fatal(n, ok, err)
		}
		r, n, err := ReadRequest(b)
		if n == 0 {
			return
		}
		if err != nil || n > len(b) || r.Port == 0 || (r.Host == "") == !r.Addr.IsValid() || strings.ContainsAny(r.Host, "\x00:[]@/ \r\n") {
			t.Fatalf("%+v %d %v", r, n, err)
		}
		if !bytes.Equal(again(r), b[:n]) {
			t.Fatalf("%q is read as %+v", b[:n], r)
		}
		for i := range n {
			if _, m, err := ReadRequest(b[:i]); m != 0 || err != nil {
				t.Fatalf("%d of %d bytes: %d %v", i, n, m, err)
			}
		}
	})
}
