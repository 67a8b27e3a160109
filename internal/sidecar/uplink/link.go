package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"connectrpc.com/connect"

	"firma/internal/wire"
	"firma/internal/wire/firmav1/firmav1connect"
	"firma/internal/wire/witnessv1/witnessv1connect"
)

// The health check of a silent connection: a peer that vanished without a word
// is noticed after both have passed.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 10 * time.Second
)

// maxMessageBytes is a full bundle with its schema, and framing.
const maxMessageBytes = 2*wire.MaxBundleBytes + 4096

// link is the one connection to the Authority. It is made when first needed and
// again after it broke; every caller shares it.
type link struct {
	cfg     *Config
	turn    chan struct{} // holds one token: whoever took it may change current
	current *session
}

// session is one connection whose other end has proved itself. Credentials are
// sent over a session only.
type session struct {
	conn      *http.ClientConn
	proven    bool // false only with AllowUnproven
	authority firmav1connect.AuthorityServiceClient
	witness   witnessv1connect.WitnessServiceClient
}

// Do implements connect.HTTPClient. It follows no redirect and never opens
// another connection.
func (s *session) Do(r *http.Request) (*http.Response, error) { return s.conn.RoundTrip(r) }

func newLink(cfg *Config) *link {
	l := &link{cfg: cfg, turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// session returns the live session, or makes one. It gives up with ctx.
func (l *link) session(ctx context.Context) (*session, error) {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if l.current != nil && l.current.conn.Err() == nil {
		return l.current, nil
	}
	if l.current != nil {
		_ = l.current.conn.Close()
		l.current = nil
	}
	s, err := l.open(ctx)
	if err == nil {
		l.current = s
	}
	return s, err
}

// close ends the connection; a session asked for later opens a new one, so the
// caller's context must have ended before.
func (l *link) close() {
	<-l.turn
	if l.current != nil {
		_ = l.current.conn.Close()
		l.current = nil
	}
	l.turn <- struct{}{}
}

func (l *link) open(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.cfg.ConnectAddr)
	if err != nil {
		return nil, err
	}
	conn, err := l.upgrade(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	proven, err := l.prove(ctx, conn, raw.RemoteAddr().String())
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l.newSession(conn, proven), nil
}

// upgrade speaks HTTP/2 with prior knowledge over raw.
func (l *link) upgrade(ctx context.Context, raw net.Conn) (*http.ClientConn, error) {
	remote, err := netip.ParseAddrPort(raw.RemoteAddr().String())
	if err != nil || !remote.Addr().Unmap().IsLoopback() && !l.cfg.AllowInsecureRemote {
		return nil, fmt.Errorf("%s is not on this machine", raw.RemoteAddr())
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		Protocols:              protocols,
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return raw, nil },
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	return t.NewClientConn(ctx, "http", l.cfg.ConnectAddr)
}

// errUnproven says that the other end does not hold the Authority's key.
var errUnproven = errors.New("the listener did not prove that it holds the Authority's key")

// errNotAuthority says that the other end speaks something else, errNoProof that
// it knows of no proofs.
var (
	errNotAuthority = errors.New("the listener does not answer as an Authority does")
	errNoProof      = fmt.Errorf("%w: it does not say who it is", errNotAuthority)
)

// prove asks the other end who it is before anything is said to it. It returns
// false without an error only where that is allowed.
func (l *link) prove(ctx context.Context, conn *http.ClientConn, addr string) (bool, error) {
	nonce := wire.NewNonce()
	sig, err := l.ask(ctx, conn, nonce)
	switch {
	case errors.Is(err, errNoProof) && l.cfg.AllowUnproven:
		return false, nil
	case err != nil:
		return false, err
	case !wire.VerifyProof(l.cfg.PublicKey, nonce, addr, sig):
		return false, errUnproven
	}
	return true, nil
}

func (l *link) ask(ctx context.Context, conn *http.ClientConn, nonce string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.cfg.URL+wire.ProofPath+"?"+wire.ProofParam+"="+nonce, nil)
	if err != nil {
		return nil, err
	}
	res, err := conn.RoundTrip(r)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(errNotAuthority, err)
		}
		return nil, err
	}
	defer res.Body.Close()
	// A gRPC server answers a path it does not know with status 200, too.
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/octet-stream" {
		return nil, fmt.Errorf("%w: HTTP status %d", errNoProof, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, 128))
}

func (l *link) newSession(conn *http.ClientConn, proven bool) *session {
	s := &session{conn: conn, proven: proven}
	options := []connect.ClientOption{
		connect.WithGRPC(),
		connect.WithReadMaxBytes(maxMessageBytes),
		connect.WithAcceptCompression("gzip", nil, nil),
	}
	s.authority = firmav1connect.NewAuthorityServiceClient(s, l.cfg.URL, options...)
	s.witness = witnessv1connect.NewWitnessServiceClient(s, l.cfg.URL, options...)
	return s
}
