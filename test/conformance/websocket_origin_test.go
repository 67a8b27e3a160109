package conformance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// origin is an upstream whose sockets are the test's to serve.
type origin struct {
	dialer
	// answer returns fields for the answer to an upgrade; nil agrees to it as it is.
	answer func(r *http.Request) http.Header
	opened chan socket
}

func newOrigin(t *testing.T, w way) *origin {
	t.Helper()
	o := &origin{opened: make(chan socket, 1)}
	if w.farH2 {
		o.relayed(t)
		return o
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(o.serve))
	if w.tls {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	o.dialer = dialer{s.Listener.Addr().String(), roots}
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " + acceptFor(r.Header.Get("Sec-WebSocket-Key")) + "\r\n")
	if o.answer != nil {
		o.answer(r).Write(&b)
	}
	io.WriteString(c, b.String()+"\r\n")
	o.opened <- &upgraded{c, buffered.Reader}
}

// relayed has the origin be net/http's HTTP/2, which takes extended CONNECTs only in
// a process that was started so. It agrees to compression if that is asked for.
func (o *origin) relayed(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1", relayTo+"="+ln.Addr().String())
	cmd.Stderr = os.Stderr
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
		ln.Close()
	})
	var addr, cert string
	if _, err := fmt.Fscan(stdout, &addr, &cert); err != nil {
		t.Fatal(err)
	}
	der, _ := base64.StdEncoding.DecodeString(cert)
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	o.dialer = dialer{addr, x509.NewCertPool()}
	o.roots.AddCert(leaf)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.opened <- &upgraded{c, bufio.NewReader(c)}
		}
	}()
}

const relayTo = "FIRMA_TEST_RELAY"

func TestMain(m *testing.M) {
	if to := os.Getenv(relayTo); to != "" {
		relay(to)
		return
	}
	os.Exit(m.Run())
}

// relay is the other process: streams of extended CONNECTs become connections to
// another address. It ends with its input.
func relay(to string) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" || r.Header.Get(":protocol") != "websocket" {
			http.Error(w, r.Method, 400)
			return
		}
		c, err := net.Dial("tcp", to)
		if err != nil {
			panic(err)
		}
		defer c.Close()
		if strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
			w.Header().Set("Sec-WebSocket-Extensions", "permessage-deflate")
		}
		rc := http.NewResponseController(w)
		w.WriteHeader(200)
		rc.Flush()
		go func() {
			if _, err := io.Copy(c, r.Body); err != nil {
				c.Close()
				return
			}
			c.(*net.TCPConn).CloseWrite()
		}()
		buf := make([]byte, 32<<10)
		for {
			n, err := c.Read(buf)
			w.Write(buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	s.EnableHTTP2 = true
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP2(true)
	s.StartTLS()
	fmt.Println(s.Listener.Addr(), base64.StdEncoding.EncodeToString(certificate.Certificate[0]))
	io.Copy(io.Discard, os.Stdin)
}
