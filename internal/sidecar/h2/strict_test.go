package h2

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"firma/internal/sidecar/http1"
)

// scripted is a connection whose other end says something and leaves.
type scripted struct {
	net.Conn
	io.Reader
}

func (s scripted) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// normal is what net/http gets to read of an upstream's answer to method.
func normal(said, method string) (string, error) {
	s := newStrict(scripted{Reader: strings.NewReader(said)})
	s.asked.method = method
	b, err := io.ReadAll(s)
	return string(b), err
}

func TestStrictResponses(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 200\r\nA:b \r\ncontent-length: 2\r\n\r\nhi":                                             "HTTP/1.1 200 \r\nA: b\r\ncontent-length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n02;a\r\nhi\r\n0\r\nT: u\r\n\r\n":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\nT: u\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n":                                                  "HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 103 X\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 OK\r\n\r\n":                              "HTTP/1.1 103 X\r\nContent-Length: 9\r\n\r\nHTTP/1.1 204 OK\r\n\r\n",
		"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x01aHTTP/1.1 200 OK\r\n": "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x01aHTTP/1.1 200 OK\r\n",
	} {
		if got, err := normal(said, "GET"); got != want || err != nil {
			t.Errorf("%q: %q, %v; want %q", said, got, err, want)
		}
	}
	if got, err := normal("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", "HEAD"); !strings.HasSuffix(got, "20\r\nConnection: close\r\n\r\n") || err != nil {
		t.Errorf("HEAD: %q, %v", got, err)
	}
	for _, said := range []string{
		"HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n", strings.Repeat("HTTP/1.1 103 X\r\n\r\n", 100),
		"HTTP/1.1 200 OK\r\nA", // and no more
	} {
		got, err := normal(said, "GET")
		var bad *http1.Error
		if !errors.As(err, &bad) && !errors.Is(err, io.ErrUnexpectedEOF) || got == "" {
			t.Errorf("%q: %q, %v", said, got, err)
		}
	}
	if got, err := normal("HTTP/1.1 200 OK\r\n\r\n", ""); got != "H" || err == nil {
		t.Errorf("unasked: %q, %v", got, err)
	}
	if got, err := normal("", ""); got != "" || err != nil {
		t.Errorf("an end in order: %q, %v", got, err)
	}
}

// FuzzStrictResponse: what passes reads the same to both parsers, and passing it
// again changes nothing.
func FuzzStrictResponse(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false)
	f.Add("HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", false)
	f.Add("HTTP/1.0 304\r\nContent-Length: 2\r\n\r\n", true)
	f.Fuzz(func(t *testing.T, said string, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		once, err := normal(said, method)
		if err != nil || once == "" || strings.HasPrefix(once, "HTTP/1.1 101") {
			return
		}
		if twice, err := normal(once, method); err != nil || twice != once {
			t.Fatalf("%q became %q, %v", once, twice, err)
		}
		in := bufio.NewReader(strings.NewReader(once))
		for {
			res, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("net/http can't read %q: %v", once, err)
			}
			if res.StatusCode < 200 {
				if res.StatusCode == 101 || in.Buffered() == 0 {
					return
				}
				continue
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatalf("net/http can't read the body of %q: %v", once, err)
			}
			var rest bytes.Buffer
			if in.WriteTo(&rest); rest.Len() > 0 {
				t.Fatalf("net/http finds %q behind the response %q", rest.String(), once)
			}
			return
		}
	})
}
