// Package origin is a real HTTP server on loopback for tests and the demo: plain
// HTTP and TLS (HTTP/1.1 and h2, its own throwaway authority) that answer under
// several names and record every connection and request before answering it, so
// that "nothing arrived" can be proved at the far side.
package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Options says what to serve. The zero value serves nothing.
type Options struct {
	Plain   string       // listen address of plain HTTP; "" = not served
	TLS     string       // listen address of TLS; "" = not served
	CertDir string       // ca.pem, server.pem and server.key are kept here; "" = in memory only
	Names   []string     // names of the certificate besides loopback; nil = DefaultNames
	Log     io.Writer    // one JSON line per record; nil = kept in memory only
	Git     http.Handler // answers for git.test and under /git/; nil = nothing there
}

// DefaultNames are the names the origins answer to. ".test" is reserved (RFC 6761),
// so no resolver knows them.
func DefaultNames() []string {
	return []string{"allowed.test", "evil.test", "git.test", "echo.test", "denied.test"}
}

// Origin is a running server. Its methods are safe for concurrent use.
type Origin struct {
	*Journal
	pair    *certs
	servers []*http.Server
	plain   netip.AddrPort
	tls     netip.AddrPort
}

// Start listens and serves until Close. It returns once both addresses accept.
func Start(o Options) (*Origin, error) {
	if o.Names == nil {
		o.Names = DefaultNames()
	}
	pair, err := loadCerts(o.CertDir, o.Names)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	s := &Origin{Journal: &Journal{out: o.Log}, pair: pair}
	if err := s.listen(o); err != nil {
		return nil, errors.Join(fmt.Errorf("origin: %w", err), s.Close())
	}
	return s, nil
}

func (s *Origin) listen(o Options) error {
	if o.Plain != "" {
		ln, err := net.Listen("tcp", o.Plain)
		if err != nil {
			return err
		}
		s.plain = addrPort(ln)
		s.serve(ln, "http", o.Git, nil)
	}
	if o.TLS != "" {
		ln, err := net.Listen("tcp", o.TLS)
		if err != nil {
			return err
		}
		s.tls = addrPort(ln)
		s.serve(ln, "https", o.Git, &tls.Config{Certificates: []tls.Certificate{s.pair.leaf}})
	}
	return nil
}

func (s *Origin) serve(ln net.Listener, scheme string, git http.Handler, conf *tls.Config) {
	srv := &http.Server{
		Handler:           s.recorded(scheme, routes(git)),
		TLSConfig:         conf,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	s.servers = append(s.servers, srv)
	ln = &watched{ln, s.Journal, scheme}
	go func() {
		if conf != nil {
			_ = srv.ServeTLS(ln, "", "")
			return
		}
		_ = srv.Serve(ln)
	}()
}

func addrPort(ln net.Listener) netip.AddrPort { return ln.Addr().(*net.TCPAddr).AddrPort() }

// PlainAddr is where plain HTTP is served, invalid if it is not.
func (s *Origin) PlainAddr() netip.AddrPort { return s.plain }

// TLSAddr is where TLS is served, invalid if it is not.
func (s *Origin) TLSAddr() netip.AddrPort { return s.tls }

// CAPEM is the certificate of the throwaway authority, for a client's trust store.
func (s *Origin) CAPEM() []byte { return s.pair.caPEM }

// Close stops serving and cuts open connections.
func (s *Origin) Close() error {
	var err error
	for _, srv := range s.servers {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if e := srv.Shutdown(ctx); e != nil {
			err = errors.Join(err, srv.Close())
		}
		cancel()
	}
	return err
}
