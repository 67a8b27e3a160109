// Package hook is the way in for programs that make their calls themselves and ask
// first: the service firma.interceptor.v1.InterceptorHook. It decides and records;
// what the caller then does is not in its hands, which makes it the weakest way
// in. The others carry out what they decide.
//
// Whatever is not a whole question that was allowed is no permission: what can't be
// read is refused and recorded, what there is no room for is an error.
package hook

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"firma/internal/sidecar/allowance"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
	"firma/internal/wire/interceptorv1"
	"firma/internal/wire/interceptorv1/interceptorv1connect"
)

// The bounds of questions.
const (
	maxMessage   = 4<<20 + 256<<10 // bytes of one: the contract's largest body, and a head
	maxQuestions = 4096            // at once
	maxStreams   = 100             // at once on one connection
	maxHeader    = 16 << 10        // bytes of gRPC's own header
	readTime     = 30 * time.Second
	answerTime   = 45 * time.Second // from the header, reading included
)

// The defaults of Config.
const (
	defaultConns = 4096
	defaultHeld  = 64 << 20
	defaultIdle  = 5 * time.Minute
)

// transport is what the audit log calls malformed questions.
const transport = "grpc"

// Config is what New needs. Enforcer and Session are required.
type Config struct {
	Enforcer    proxy.Enforcer
	Session     string           // whose calls these are; questions may name no other
	MaxConns    int              // further ones wait; 0: 4096
	IdleTimeout time.Duration    // of a connection without questions; 0: 5m
	Memory      *allowance.Bytes // what questions may hold together; nil: 64 MiB
	Log         *slog.Logger
}

// Server answers questions over gRPC, on HTTP/2 without TLS and nothing else: what a
// browser can send is not understood. It is safe for concurrent use.
type Server struct {
	cfg     Config
	http    *http.Server
	handler http.Handler
	errors  *connect.ErrorWriter
	room    *room
	conns   atomic.Int64
}

// New returns a server for one session.
func New(cfg Config) (*Server, error) {
	if cfg.Enforcer == nil || cfg.Session == "" {
		return nil, errors.New("hook: Enforcer and Session are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultConns
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = defaultIdle
	}
	if cfg.Memory == nil {
		cfg.Memory = allowance.New(defaultHeld)
	}
	s := &Server{cfg: cfg, room: newRoom(maxQuestions), errors: connect.NewErrorWriter()}
	// Compressed questions are refused: their size shows only when it is held.
	_, s.handler = interceptorv1connect.NewInterceptorHookHandler(s, connect.WithReadMaxBytes(maxMessage), connect.WithCompression("gzip", nil, nil))
	s.http = &http.Server{
		Handler: s, ReadTimeout: readTime, WriteTimeout: answerTime, IdleTimeout: cfg.IdleTimeout, MaxHeaderBytes: maxHeader,
		Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	s.http.Protocols.SetUnencryptedHTTP2(true)
	return s, nil
}

// Serve answers on ln, which it owns, until ctx ends or Drain is called, and then
// returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { s.http.Close() })()
	ln = newBounded(ln, s.cfg.MaxConns, func(n int) { s.conns.Add(int64(n)) })
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Conns is how many connections are open.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// Drain takes no more questions and waits for those under way, until ctx ends: then
// they are cut. When it returns, nothing more is decided.
func (s *Server) Drain(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	s.room.close()
	return err
}

// question says how far one came.
type question struct{ asked bool }

type questionKey struct{}

// ServeHTTP lets through what may be a question, and records what is none.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != interceptorv1connect.InterceptorHookInterceptProcedure {
		http.NotFound(w, r) // gRPC's UNIMPLEMENTED
		return
	}
	if err := s.room.enter(); err != nil {
		_ = s.errors.Write(w, r, err)
		return
	}
	b, q := &body{ReadCloser: r.Body, held: s.cfg.Memory.Claim()}, &question{}
	defer s.room.leave()
	defer b.held.Release()
	r.Body = b
	if t := r.Header.Get("Content-Type"); t != "application/grpc" && t != "application/grpc+proto" {
		w.WriteHeader(http.StatusUnsupportedMediaType)
	} else {
		s.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), questionKey{}, q)))
	}
	if !q.asked && !b.full && r.Context().Err() == nil {
		s.malformed(r.Context(), "it is not one whole question in gRPC, or a larger one than 4.25 MiB")
	}
}

// Intercept decides one call. Only a failure to answer at all is an error.
func (s *Server) Intercept(ctx context.Context, in *connect.Request[interceptorv1.InterceptRequest]) (*connect.Response[interceptorv1.InterceptResponse], error) {
	if q, ok := ctx.Value(questionKey{}).(*question); ok {
		q.asked = true
	}
	d := s.decide(ctx, in.Msg)
	out := &interceptorv1.InterceptResponse{Allowed: d.Outcome == verdict.Allow}
	if !out.Allowed {
		out.Reason = text(d.Reason, d.Detail)
	}
	return connect.NewResponse(out), nil
}

func text(r verdict.Reason, detail string) string {
	if r == verdict.None {
		r = verdict.FailClosed
	}
	if detail == "" {
		return string(r)
	}
	return string(r) + ": " + detail
}

func (s *Server) decide(ctx context.Context, q *interceptorv1.InterceptRequest) verdict.Decision {
	if q.SessionId != "" && q.SessionId != s.cfg.Session {
		return s.malformed(ctx, "the session is not this Sidecar's")
	}
	c, err := call(q)
	if err != nil {
		return s.malformed(ctx, err.Error())
	}
	d := s.cfg.Enforcer.Enforce(ctx, c)
	if d.Outcome == verdict.Modify { // a change that nobody here can make
		d = s.cfg.Enforcer.Refuse(ctx, c, d, verdict.PolicyDenied, "the policies allow this call only without the headers "+strings.Join(d.RedactHeaders, ", "))
		return denied(d, verdict.PolicyDenied, "")
	}
	return d
}

func (s *Server) malformed(ctx context.Context, detail string) verdict.Decision {
	return denied(s.cfg.Enforcer.Malformed(ctx, transport, detail), verdict.MalformedRequest, detail)
}

// denied is d where there is nothing to allow, whatever it says.
func denied(d verdict.Decision, reason verdict.Reason, detail string) verdict.Decision {
	d.Outcome = verdict.Deny
	if d.Reason == verdict.None {
		d.Reason, d.Detail = reason, detail
	}
	return d
}
