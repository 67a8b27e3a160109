package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/allowance"
)

// FuzzConn: whatever a client sends after its preface, the connection ends without
// a panic, and no call for another destination is judged.
func FuzzConn(f *testing.F) {
	seed := func(write func(fr *http2.Framer, block func(...string) []byte)) {
		var out, buf bytes.Buffer
		enc := hpack.NewEncoder(&buf)
		write(http2.NewFramer(&out, nil), func(fields ...string) []byte {
			buf.Reset()
			for i := 0; i < len(fields); i += 2 {
				enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return bytes.Clone(buf.Bytes())
		})
		f.Add(out.Bytes())
	}
	seed(func(fr *http2.Framer, block func(...string) []byte) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(getFields...), EndStream: true, EndHeaders: true})
		split := block(postFields...)
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: split[:1]})
		fr.WriteContinuation(3, true, split[1:])
		fr.WriteData(3, false, []byte("body"))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block("x-trailer", "1"), EndStream: true, EndHeaders: true})
		fr.WritePing(false, [8]byte{1})
		fr.WriteWindowUpdate(0, 1000)
		fr.WriteWindowUpdate(1, 1000)
		fr.WriteRSTStream(3, http2.ErrCodeCancel)
		fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	seed(func(fr *http2.Framer, block func(...string) []byte) {
		fr.WriteSettings()
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 5},
			BlockFragment: block(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", host, ":path", "/")})
		fr.WriteDataPadded(1, true, []byte("x"), make([]byte, 4))
		fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := newEnforcer()
		mine := allowance.New(1 << 20)
		s, err := New(Config{
			Enforcer: e, Memory: mine, Log: slog.New(slog.NewTextHandler(failOnLog{t}, nil)),
			DialTLS: func(context.Context, string, uint16, []string) (*tls.Conn, error) {
				return nil, errors.New("no upstream")
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(t.Context(), near, host, port)
		}()
		go io.Copy(io.Discard, far)
		io.WriteString(far, http2.ClientPreface)
		far.Write(data)
		far.Close()
		<-done
		for _, line := range e.take() {
			if !strings.HasPrefix(line, "malformed") && !strings.HasPrefix(line, "refuse "+host+" ") && !strings.Contains(line, " "+host+"/") {
				t.Error(line)
			}
		}
		s.Drain(context.Background())
		if n := mine.Used(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	})
}
