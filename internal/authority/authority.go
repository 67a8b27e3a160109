// Package authority is the control-plane role: it signs capabilities, streams
// policy bundles and revocations to Sidecars, and witnesses their audit logs. It
// is never asked during a decision. New checks everything; Run serves.
package authority

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"firma/internal/authority/bundle"
	"firma/internal/authority/endpoints"
	"firma/internal/authority/issue"
	"firma/internal/authority/keys"
	"firma/internal/authority/revocation"
	"firma/internal/authority/witness"
)

// The limits of the server. A call's own limits are in endpoints.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	pingAfter      = 15 * time.Second
	pingTimeout    = 15 * time.Second
	writeTimeout   = 30 * time.Second
	shutdownGrace  = time.Second
	maxHeaderBytes = 16 << 10
	maxStreams     = 32 // per connection
)

// Authority is one running role. It is made by New and used once.
type Authority struct {
	cfg         Config
	key         *keys.Signer
	issuer      *issue.Issuer
	bundles     *bundle.Source
	revocations *revocation.Log
	witness     *witness.Witness
}

// New loads and validates everything cfg names, so that Run can only fail to
// listen. Errors are faults.
func New(cfg Config) (*Authority, error) {
	if err := cfg.finalize(); err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, revocations: revocation.NewLog()}
	for _, load := range []func() error{a.loadKey, a.loadBundle, a.loadIssuer, a.loadRevocations, a.loadWitness} {
		if err := load(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *Authority) loadKey() (err error) {
	a.key, err = loadKey(a.cfg.KeyFile)
	return err
}

func loadKey(path string) (*keys.Signer, error) {
	if path == "" {
		return keys.Ephemeral()
	}
	return keys.Load(path)
}

func (a *Authority) loadBundle() error {
	b, err := a.readBundle()
	if err != nil {
		return err
	}
	a.bundles = bundle.NewSource(b)
	return nil
}

func (a *Authority) loadIssuer() error {
	a.issuer = issue.New(a.key, a.cfg.MaxTTL, a.cfg.Now)
	return a.reloadIssuance()
}

// loadRevocations refuses a line it does not understand; a reload only reports
// it (see watch.go).
func (a *Authority) loadRevocations() error {
	if a.cfg.RevocationFile == "" {
		return nil
	}
	entries, err := revocation.Read(a.cfg.RevocationFile)
	a.revocations.Merge(entries, a.cfg.Now())
	return err
}

func (a *Authority) loadWitness() (err error) {
	a.witness, err = witness.Open(a.cfg.WitnessFile, a.cfg.Now)
	return err
}

// Run listens, reports readiness, and serves until ctx ends. It then ends every
// stream, waits up to a second for calls in flight and closes what is left, in
// this order: server, watchers, witness file. It returns nil after ctx ended.
func (a *Authority) Run(ctx context.Context) error {
	defer a.witness.Close()
	l, err := listen(ctx, a.cfg.Listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { a.watch(ctx) })

	srv := a.server(ctx)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); shut(srv) })
	a.report(l.Addr())
	err = srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, srv.Close())
}

func (a *Authority) report(addr net.Addr) {
	b, _ := a.bundles.Current()
	a.cfg.Log.Info("authority listening", "addr", addr.String(), "bundle_version", b.Version)
	if a.cfg.Anonymous {
		a.cfg.Log.Warn("no pre-shared key is set: every account of this machine can ask for capabilities")
	}
	if a.cfg.Ready != nil {
		a.cfg.Ready(Report{Addr: addr.String(), PublicKey: a.key.Public(), BundleVersion: b.Version})
	}
}

func (a *Authority) server(ctx context.Context) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: endpoints.New(endpoints.Config{
			Issuer: a.issuer, Bundles: a.bundles, Revocations: a.revocations, Witness: a.witness,
			Prove: a.key.Prove, Key: a.cfg.PreSharedKey, Anonymous: a.cfg.Anonymous,
			After: a.cfg.After, Log: a.cfg.Log,
		}),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter,
			PingTimeout: pingTimeout, WriteByteTimeout: writeTimeout,
		},
		// Streams end with ctx, so Shutdown does not wait for them.
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(a.cfg.Log.Handler(), slog.LevelDebug),
	}
}

func shut(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}
