package load

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"
)

// TLSOrigin answers requests inside TLS, over HTTP/1.1 and HTTP/2.
type TLSOrigin struct {
	Addr string
	CA   []byte // PEM of the certificate that signs itself and names the host
	srv  *http.Server
}

// NewTLSOrigin listens on a free port of 127.0.0.1 as host.
func NewTLSOrigin(host string) (*TLSOrigin, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &TLSOrigin{Addr: ln.Addr().String(), CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	o.srv = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"hello":"you"}`)
		}),
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: 1000},
	}
	go func() { _ = o.srv.ServeTLS(ln, "", "") }()
	return o, nil
}

// Close cuts everything.
func (o *TLSOrigin) Close() { _ = o.srv.Close() }

// secure opens a tunnel and speaks TLS in it. Who answers is not checked: that is
// not what is measured.
func (p Path) secure(name string, protos ...string) (*tls.Conn, error) {
	c, _, err := p.Open()
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protos})
	if err := t.Handshake(); err != nil {
		c.Close()
		return nil, err
	}
	return t, nil
}

func (p Path) authority() string { return strings.TrimSuffix(p.Tun, ":443") }

// Inside sends HTTP/1.1 requests one after the other inside each of n intercepted
// tunnels for d; name is the server's in TLS.
func (p Path) Inside(name string, n int, d time.Duration) (Result, error) {
	req := []byte("GET /v1/models HTTP/1.1\r\nHost: " + p.authority() + "\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer abcdef\r\n\r\n")
	return during(n, d, false, func(w *worker) error {
		if w.c == nil {
			c, err := p.secure(name, "http/1.1")
			if err != nil {
				return err
			}
			w.c, w.in = c, bufio.NewReaderSize(c, 4096)
		}
		r, err := p.get(w, req)
		if err == nil && r.status != 200 {
			err = fmt.Errorf("GET inside TLS: status %d", r.status)
		}
		return err
	})
}

// Inside2 sends HTTP/2 requests, n at once on one intercepted tunnel, for d.
func (p Path) Inside2(name string, n int, d time.Duration) (Result, error) {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	tr := &http.Transport{Protocols: &protocols, DisableCompression: true, MaxConnsPerHost: 1,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return p.secure(name, "h2") }}
	defer tr.CloseIdleConnections()
	return during(n, d, false, func(*worker) error {
		req, err := http.NewRequest(http.MethodGet, "https://"+p.authority()+"/v1/models", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer abcdef")
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.ProtoMajor != 2 {
			return fmt.Errorf("%s in place of HTTP/2", resp.Proto)
		}
		if resp.StatusCode != 200 {
			return fmt.Errorf("GET over HTTP/2: status %d", resp.StatusCode)
		}
		return nil
	})
}
