package attach

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"testing"
)

func TestDestination(t *testing.T) {
	for _, tt := range []struct{ sent, want string }{
		{"198.18.0.1:443", "198.18.0.1:443"},
		{"[::ffff:198.18.0.1]:443", "198.18.0.1:443"}, // one form per address
		{"[fd66:6972:6d61::c612:1]:65535", "[fd66:6972:6d61::c612:1]:65535"},
		{"0.0.0.0:0", "0.0.0.0:0"},
		{"[::]:1", "[::]:1"},
	} {
		var b bytes.Buffer
		if err := WriteDestination(&b, netip.MustParseAddrPort(tt.sent)); err != nil {
			t.Fatal(err)
		}
		b.WriteString("the agent's")
		got, err := ReadDestination(&b)
		if err != nil || got.String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.sent, got, err, tt.want)
		}
		if b.String() != "the agent's" {
			t.Errorf("%s: %q is left for the agent's stream", tt.sent, b.String())
		}
	}
}

func TestDestinationCutShort(t *testing.T) {
	for n := range destinationLen {
		got, err := ReadDestination(bytes.NewReader(make([]byte, n)))
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n == 0]; !errors.Is(err, want) || got.IsValid() {
			t.Errorf("%d bytes: %v, %v", n, got, err)
		}
	}
	if err := WriteDestination(broken{}, netip.MustParseAddrPort("198.18.0.1:1")); err == nil {
		t.Error("what could not be written is no error")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzReadDestination: whatever a launcher sends, the address is in its one form,
// and writing it again says the same.
func FuzzReadDestination(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, destinationLen-1))
	f.Add(append(make([]byte, destinationLen), "GET / HTTP/1.1\r\n"...))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc6\x12\x00\x01\x01\xbb"))
	f.Add([]byte("\xfd\x66\x69\x72\x6d\x61\x00\x00\x00\x00\x00\x00\xc6\x12\x00\x01\x01\xbb\x16"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		got, err := ReadDestination(r)
		if (err == nil) != (len(data) >= destinationLen) || (err == nil) != got.IsValid() {
			t.Fatalf("%d bytes: %v, %v", len(data), got, err)
		}
		if err != nil {
			return
		}
		if r.Len() != len(data)-destinationLen {
			t.Fatalf("%d bytes of the agent's are left of %d", r.Len(), len(data)-destinationLen)
		}
		if got.Addr().Is4In6() || got.Addr().Zone() != "" {
			t.Fatalf("%v is not in its one form", got)
		}
		var b bytes.Buffer
		if err := WriteDestination(&b, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), data[:destinationLen]) {
			t.Fatalf("%x is written as %x", data[:destinationLen], b.Bytes())
		}
	})
}
