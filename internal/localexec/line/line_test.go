package line_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"firma/internal/localexec/line"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]line.Address{
		"unix:/run/gate.sock":    {Network: "unix", Addr: "/run/gate.sock"},
		"unix:///run/gate.sock":  {Network: "unix", Addr: "/run/gate.sock"},
		"tcp:127.0.0.1:7000":     {Network: "tcp", Addr: "127.0.0.1:7000"},
		"tcp://[::1]:7000":       {Network: "tcp", Addr: "[::1]:7000"},
		"":                       {},
		"/run/gate.sock":         {},
		"unix:":                  {},
		"unix:gate.sock":         {},
		"unix://gate.sock":       {},
		"unix:@abstract":         {},
		"unix:/run/../gate.sock": {},
		"unix:/run/\x00":         {},
		"unix:/" + strings.Repeat("x", line.MaxPath): {},
		"tcp:127.0.0.1":         {},
		"tcp::7000":             {},
		"tcp:host:0":            {},
		"tcp:host:":             {},
		"http://127.0.0.1:7000": {},
	} {
		got, err := line.ParseAddress(in)
		if got != want || (err == nil) != (want != line.Address{}) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

// serve accepts one connection and hands it to f, which owns it.
func serve(t *testing.T, network string, f func(net.Conn)) line.Address {
	t.Helper()
	at := filepath.Join(t.TempDir(), "s")
	if network == "tcp" {
		at = "127.0.0.1:0"
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := ln.Accept(); err == nil {
			f(c)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return line.Address{Network: network, Addr: ln.Addr().String()}
}

func TestExchange(t *testing.T) {
	const patient, hasty = 30 * time.Second, 50 * time.Millisecond
	untilClosed := func(c net.Conn) { _, _ = io.Copy(io.Discard, c); c.Close() }
	answer := func(texts ...string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = line.Read(c, 100)
			for _, s := range texts {
				_, _ = io.WriteString(c, s)
			}
			c.Close()
		}
	}
	for _, tt := range []struct {
		name   string
		server func(net.Conn)
		within time.Duration
		want   string
		err    error
	}{
		{"one line", answer("yes\n"), patient, "yes", nil},
		{"an empty line", answer("\n"), patient, "", nil},
		{"in pieces", answer("y", "e", "s\n"), patient, "yes", nil},
		{"waits for the end of the request stream", func(c net.Conn) {
			_, _ = io.WriteString(c, "yes\n")
			untilClosed(c)
		}, patient, "yes", nil},
		{"as long as may be", answer(strings.Repeat("x", 20) + "\n"), patient, strings.Repeat("x", 20), nil},
		{"one byte too long", answer(strings.Repeat("x", 21) + "\n"), patient, "", line.ErrTooLong},
		{"endless", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "xxxxxxxx"); err != nil {
					c.Close()
					return
				}
			}
		}, patient, "", line.ErrTooLong},
		{"nothing", answer(), patient, "", line.ErrClosed},
		{"no line feed", answer("yes"), patient, "", line.ErrClosed},
		{"two lines", answer("yes\nyes\n"), patient, "", line.ErrExtra},
		{"one byte more", answer("yes\n", "x"), patient, "", line.ErrExtra},
		{"silence", untilClosed, hasty, "", line.ErrTimeout},
		{"half a line and silence", func(c net.Conn) {
			_, _ = io.WriteString(c, "ye")
			untilClosed(c)
		}, hasty, "", line.ErrTimeout},
	} {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(network+" "+tt.name, func(t *testing.T) {
				at := serve(t, network, tt.server)
				got, err := line.Exchange(t.Context(), at, []byte("may I?\n"), 20, tt.within)
				if string(got) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%q, %v; want %q, %v", got, err, tt.want, tt.err)
				}
			})
		}
	}
}

func TestExchangeOpenEnd(t *testing.T) {
	release := make(chan struct{})
	at := serve(t, "unix", func(c net.Conn) {
		_, _ = io.WriteString(c, "yes\n")
		<-release
		c.Close()
	})
	_, err := line.Exchange(t.Context(), at, []byte("?\n"), 20, 50*time.Millisecond)
	close(release)
	if !errors.Is(err, line.ErrLingers) {
		t.Errorf("a server that never closes: %v", err)
	}
}

func TestExchangeUnreachable(t *testing.T) {
	_, err := line.Exchange(t.Context(), line.Address{Network: "unix", Addr: filepath.Join(t.TempDir(), "none")}, nil, 20, time.Minute)
	if !errors.Is(err, line.ErrUnreachable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no socket: %v", err)
	}
}

// TestExchangeGivesUp: the caller's end is the exchange's, whatever the timeout.
func TestExchangeGivesUp(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	at := serve(t, "unix", func(c net.Conn) {
		_, _ = line.Read(c, 100)
		cancel(why)
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	})
	if _, err := line.Exchange(ctx, at, []byte("?\n"), 20, time.Hour); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"a\nb\n", "a", nil}, {"", "", line.ErrClosed}, {"a", "", line.ErrClosed},
		{strings.Repeat("x", 8) + "\n", strings.Repeat("x", 8), nil},
		{strings.Repeat("x", 9) + "\n", "", line.ErrTooLong},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := line.Read(r, 8)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%q: %q, %v", tt.in, got, err)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"", "\n", "yes\n", "yes", "a\nb\n", strings.Repeat("x", 600) + "\n"} {
		f.Add([]byte(s), 64)
	}
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = max(0, min(limit, 1<<16))
		got, err := line.Read(bytes.NewReader(in), limit)
		want, _, whole := bytes.Cut(in, []byte("\n"))
		whole = whole && len(want) <= limit
		if whole != (err == nil) || whole && !bytes.Equal(got, want) {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	})
}
