package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// upstreamTLS verifies nothing: less work for a peer than firma has.
func upstreamTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// interceptor ends the TLS of tunnels and serves what is inside with the standard
// library, HTTP/1.1 and HTTP/2.
type interceptor struct {
	leaf *tls.Certificate
	srv  *http.Server
	in   chan net.Conn
}

func newInterceptor() *interceptor {
	i := &interceptor{leaf: newLeaf("bench.test"), in: make(chan net.Conn)}
	rp := &httputil.ReverseProxy{Transport: transport(), FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: r.In.Host}) }}
	i.srv = &http.Server{Handler: rp, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{*i.leaf}}}
	go func() { log.Fatal(i.srv.ServeTLS(i, "", "")) }()
	return i
}

func (i *interceptor) serve(c net.Conn, _ string) {
	if _, err := io.WriteString(c, established); err != nil {
		c.Close()
		return
	}
	i.in <- c
}

// Accept, Close and Addr make it the server's listener.
func (i *interceptor) Accept() (net.Conn, error) { return <-i.in, nil }
func (i *interceptor) Close() error              { return nil }
func (i *interceptor) Addr() net.Addr            { return &net.TCPAddr{} }

// newLeaf is a certificate that signs itself; clients of the benchmark verify
// nothing.
func newLeaf(host string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// store gives every host the same leaf, made once, so that what is measured is
// requests, not key generation.
type store struct {
	mu   sync.Mutex
	leaf *tls.Certificate
}

func newStore() *store { return &store{} }

func (s *store) Fetch(host string, _ func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaf == nil {
		s.leaf = newLeaf(host)
	}
	return s.leaf, nil
}
