package attach

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"firma/internal/control"
	"firma/internal/fault"
)

const secret = "a secret that both of them know!"

// sidecar accepts on both kinds of address and plays the Sidecar's side.
type sidecar struct {
	secret string
	guests chan *Guest
	opened chan string // "K the agent's first word"
	ends   chan error
}

func serve(t *testing.T, network string) (Endpoint, *sidecar) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s.sock")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s := &sidecar{secret: secret, guests: make(chan *Guest, 10), opened: make(chan string, 10), ends: make(chan error, 10)}
	go func() {
		var key Key
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.ends <- s.one(conn, &key)
		}
	}()
	return Endpoint{network, ln.Addr().String()}, s
}

func (s *sidecar) one(conn net.Conn, key *Key) error {
	h, err := ReadHeader(conn)
	if err != nil {
		conn.Close()
		return err
	}
	if h.Kind == Control {
		g, err := Greet(conn, h, s.secret)
		if err != nil {
			conn.Close()
			return err
		}
		*key = g.Key
		s.guests <- g
		return nil
	}
	defer conn.Close()
	if err := Admit(conn, h, *key); err != nil {
		return err
	}
	said, err := io.ReadAll(conn)
	s.opened <- string(rune(h.Kind)) + " " + string(said)
	return err
}

func TestRunAndSidecar(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			e, s := serve(t, network)
			ctx := context.Background()
			r, err := Dial(ctx, e, secret)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			g := <-s.guests
			if g.Name != r.Name() || g.Key != r.key || g.Key == (Key{}) || !strings.HasPrefix(g.From, network) {
				t.Fatalf("%+v", g)
			}
			if err := r.Send(control.Message{Kind: control.KindEnd, End: &control.End{ExitCode: 7}}); err != nil {
				t.Fatal(err)
			}
			if m, err := g.Recv(); err != nil || m.End == nil || m.End.ExitCode != 7 {
				t.Fatalf("%+v %v", m, err)
			}
			for _, k := range []Kind{Relay, DNS} {
				conn, err := r.Open(ctx, k)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write([]byte("FIRMA/1 R is the agent's now")); err != nil {
					t.Fatal(err)
				}
				conn.Close()
				if got := <-s.opened; got != string(rune(k))+" FIRMA/1 R is the agent's now" {
					t.Errorf("%q", got)
				}
			}
			g.Close()
			if _, err := r.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("the end of the line is %v", err)
			}
		})
	}
}

func TestWrongSecret(t *testing.T) {
	for _, theirs := range []string{"", "another secret"} {
		e, s := serve(t, "tcp")
		s.secret = theirs
		if _, err := Dial(context.Background(), e, secret); fault.NameOf(err) != "SidecarAccessDenied" {
			t.Errorf("%q: %v", theirs, err)
		}
		if err := <-s.ends; !errors.Is(err, errStranger) {
			t.Errorf("the Sidecar took it: %v", err)
		}
	}
}

// Somebody who listens at the address does not pass for the Sidecar, not even by
// asking the real one.
func TestImpostor(t *testing.T) {
	real, s := serve(t, "tcp")
	relay := func(conn net.Conn) {
		up, err := net.Dial("tcp", real.Address)
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(up, conn) }()
		_, _ = io.Copy(conn, up)
	}
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"guesses":       {func(c net.Conn) { _, _ = c.Write(reply{kind: granted}.append(nil)) }, "SidecarNotAuthentic"},
		"takes no runs": {func(c net.Conn) { _, _ = ReadHeader(c); TakesNoRuns(c) }, "SidecarTakesNoRuns"},
		"speaks HTTP":   {func(c net.Conn) { _, _ = c.Write([]byte(strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 9))) }, "SidecarUnreachable"},
		"hangs up":      {func(net.Conn) {}, "SidecarUnreachable"},
		"passes it on":  {relay, "SidecarAccessDenied"}, // the proof names the address
		"sends nothing": {func(c net.Conn) { _, _ = c.Write([]byte(Magic)) }, "SidecarUnreachable"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if conn, err := ln.Accept(); err == nil {
				tt.serve(conn)
				conn.Close()
			}
		}()
		_, err = Dial(context.Background(), Endpoint{"tcp", ln.Addr().String()}, secret)
		if fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		ln.Close()
	}
	_ = s
}

// A Sidecar that comes back at the same address, or a program that takes it over,
// gets nothing of the agent's.
func TestAnotherSidecarAtTheSameAddress(t *testing.T) {
	e, s := serve(t, "tcp")
	r, err := Dial(context.Background(), e, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	<-s.guests
	r.key[0] ^= 1
	if _, err := r.Open(context.Background(), Relay); err == nil {
		t.Error("a connection without the run's key was opened")
	}
	if len(s.opened) != 0 {
		t.Error("something of the agent's was sent")
	}
	<-s.ends
	if err := <-s.ends; !errors.Is(err, errStranger) {
		t.Errorf("the Sidecar: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	for _, e := range []Endpoint{{"tcp", free}, {"unix", filepath.Join(dir, "absent")}} {
		if _, err := Dial(context.Background(), e, secret); fault.NameOf(err) != "SidecarUnreachable" {
			t.Errorf("%s: %v", e, err)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for in, want := range map[string]string{
		"tcp:127.0.0.1:8080": "tcp://127.0.0.1:8080", "tcp://127.0.0.1:8080": "tcp://127.0.0.1:8080", "tcp://[::1]:1": "tcp://[::1]:1",
		"tcp://localhost:8080": "tcp://localhost:8080", "unix:/run/s": "unix:///run/s", "unix:///run/./s": "unix:///run/s",
	} {
		if e, err := ParseEndpoint(in); err != nil || e.String() != want {
			t.Errorf("%s: %v %v", in, e, err)
		}
	}
	for in, want := range map[string]string{
		"": fault.ArgumentInvalid, "local": fault.ArgumentInvalid, "http://127.0.0.1:8080": fault.ArgumentInvalid, "tcp://127.0.0.1": fault.ArgumentInvalid,
		"unix:relative": fault.ArgumentInvalid, "unix://relative": fault.ArgumentInvalid, "unix:": fault.ArgumentInvalid, "tcp://127.0.0.1:": fault.ArgumentInvalid,
		"tcp://192.0.2.1:8080": "ConfigValidation", "tcp://0.0.0.0:8080": "ConfigValidation", "tcp://sidecar.test:1": "ConfigValidation",
	} {
		if e, err := ParseEndpoint(in); fault.NameOf(err) != want {
			t.Errorf("%q: %v %v", in, e, err)
		}
	}
}

// A message that is too long or no JSON ends the line for its reader.
func TestBadMessages(t *testing.T) {
	for name, text := range map[string][]byte{
		"endless": bytes.Repeat([]byte("x"), 2<<20), "not JSON": []byte("hello\n"), "cut short": []byte(`{"kind":"end"`),
	} {
		a, b := net.Pipe()
		go func() {
			_, _ = a.Write(text)
			a.Close()
		}()
		if m, err := newLine(b).Recv(); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
		b.Close()
	}
	a, b := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	if err := newLine(a).Send(control.Message{Failure: &control.Failure{Text: strings.Repeat("x", 1<<20)}}); err == nil {
		t.Error("a message too long was sent")
	}
	a.Close()
	b.Close()
}

func FuzzReadHeader(f *testing.F) {
	f.Add(appendHeader(nil, Relay, id{1}, id{2}, mac{3}))
	f.Add([]byte("GET http://example.com/ HTTP/1.1\r\n\r\n"))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(bytes.NewReader(data))
		if err != nil {
			return
		}
		var run id
		p := parser{b: []byte(h.Run), ok: true}
		p.hex(run[:])
		if got := appendHeader(nil, h.Kind, run, h.nonce, h.proof); !bytes.Equal(got, data[:headerLen]) {
			t.Fatalf("%q is read as %q", data, got)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add(reply{kind: granted, run: id{1}, value: mac{2}}.append(nil))
	f.Add(reply{kind: noRuns}.append(nil))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		y, err := readReply(r)
		if err != nil {
			return
		}
		if got := y.append(nil); !bytes.Equal(got, data[:replyLen]) || r.Len() != len(data)-replyLen {
			t.Fatalf("%q is read as %q, %d bytes are left", data, got, r.Len())
		}
	})
}

// FuzzRecv: messages are the lines that come, one after the other, whatever pieces they
// come in; a line that is none is an error, and the end of the line's messages is its end.
func FuzzRecv(f *testing.F) {
	for _, s := range []string{"", "{}\n{}\n", `{"kind":"end","end":{"exit_code":3}}` + "\n", "hello\n", `{"kind":"launch"}` + "\n" + `{"kind":"end"`, "\n", "null\n", `{"kind":1}` + "\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole, pieces := newLine(from{r: bytes.NewReader(data)}), newLine(from{r: iotest.OneByteReader(bytes.NewReader(data))})
		for rest := data; ; {
			line, more, found := bytes.Cut(rest, []byte("\n"))
			m, err := whole.Recv()
			n, nerr := pieces.Recv()
			if !reflect.DeepEqual(m, n) || (err == nil) != (nerr == nil) {
				t.Fatalf("%+v, %v; in pieces %+v, %v", m, err, n, nerr)
			}
			var want control.Message
			if ok := found && json.Unmarshal(line, &want) == nil; ok != (err == nil) || ok && !reflect.DeepEqual(m, want) {
				t.Fatalf("%q is read as %+v, %v", line, m, err)
			}
			if err != nil {
				if !found && err != io.EOF {
					t.Fatalf("at the end: %v", err)
				}
				return
			}
			rest = more
		}
	})
}

// from is a connection that is only read from.
type from struct {
	net.Conn
	r io.Reader
}

func (f from) Read(p []byte) (int, error) { return f.r.Read(p) }
