// Package hook is the way in for programs that make their calls themselves and ask
// first: the service firma.interceptor.v1.InterceptorHook. It decides and records;
// what the caller then does is not in its hands, which makes it the weakest way
// in. The others carry out what they decide.
package hook

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/sidecar/field"
	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
	"firma/internal/wire/interceptorv1"
	"firma/internal/wire/interceptorv1/interceptorv1connect"
)

// maxMessage bounds one question, in bytes: the contract's largest body and a
// header block.
const maxMessage = 4<<20 + 256<<10

// Transport is what the audit log calls malformed questions.
const transport = "grpc"

// Config is what New needs. All fields but Log are required.
type Config struct {
	Enforcer proxy.Enforcer
	Session  string // whose calls these are; questions may name no other
	Log      *slog.Logger
}

// Server answers questions over gRPC, gRPC-Web and Connect, without TLS. It is
// safe for concurrent use.
type Server struct {
	cfg  Config
	http *http.Server
}

// New returns a server for one session.
func New(cfg Config) (*Server, error) {
	if cfg.Enforcer == nil || cfg.Session == "" {
		return nil, errors.New("hook: Enforcer and Session are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	mux := http.NewServeMux()
	mux.Handle(interceptorv1connect.NewInterceptorHookHandler(s, connect.WithReadMaxBytes(maxMessage)))
	s.http = &http.Server{
		Handler: mux, ReadHeaderTimeout: 15 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 64 << 10,
		Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	return s, nil
}

// Serve answers on ln, which it owns, until ctx ends or Drain is called, and then
// returns nil.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer context.AfterFunc(ctx, func() { s.http.Close() })()
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Drain takes no more questions and waits for those under way until ctx ends.
func (s *Server) Drain(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	return err
}

// Intercept decides one call. Only a failure to answer at all is an error.
func (s *Server) Intercept(ctx context.Context, in *connect.Request[interceptorv1.InterceptRequest]) (*connect.Response[interceptorv1.InterceptResponse], error) {
	d := s.decide(ctx, in.Msg)
	out := &interceptorv1.InterceptResponse{Allowed: d.Outcome == verdict.Allow}
	switch {
	case out.Allowed:
	case d.Outcome == verdict.Modify: // a change that nobody here can make
		out.Reason = text(verdict.PolicyDenied, "the policies allow this call only without the headers "+strings.Join(d.RedactHeaders, ", "))
	default:
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
	return s.cfg.Enforcer.Enforce(ctx, c)
}

func (s *Server) malformed(ctx context.Context, detail string) verdict.Decision {
	d := s.cfg.Enforcer.Malformed(ctx, transport, detail)
	d.Outcome = verdict.Deny // whatever it says, there is nothing to allow
	if d.Reason == verdict.None {
		d.Reason, d.Detail = verdict.MalformedRequest, detail
	}
	return d
}

// call is the canonical form of what the caller would send.
func call(q *interceptorv1.InterceptRequest) (*intent.Call, error) {
	c, err := canonical(q)
	if err != nil {
		return nil, why(err)
	}
	for name, value := range q.Headers {
		switch {
		case strings.EqualFold(name, "host"):
			if host, port, err := intent.SplitHostPort(value); err != nil || host != c.Host || port != 0 && port != c.Port {
				return nil, errors.New("the Host header and the host are different")
			}
		case field.Override(name):
			if err := c.SetOverride(value); err != nil {
				return nil, why(err)
			}
		case field.Ours(name):
			return nil, errors.New("a header asks for another host or path, or is firma's own")
		}
	}
	if c.IsPush() {
		if err := readPush(&c, q.Body); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// readPush reads what a git push asks for, which decides what the call is.
func readPush(c *intent.Call, body []byte) error {
	updates, done, err := gitpush.Parse(body)
	var e *gitpush.Error
	switch {
	case errors.As(err, &e):
		return errors.New("the commands of a git push are malformed: " + e.Why)
	case !done:
		return errors.New("the commands of a git push are not complete")
	}
	c.Push = &intent.Push{Updates: updates}
	return nil
}

func canonical(q *interceptorv1.InterceptRequest) (intent.Call, error) {
	if q.Method == http.MethodConnect {
		return intent.FromAuthority(q.Host)
	}
	if q.IsHttps {
		return intent.FromOrigin(intent.HTTPS, q.Method, q.Host, q.Path)
	}
	return intent.FromOrigin(intent.HTTP, q.Method, q.Host, q.Path)
}

func why(err error) error {
	var e *intent.Error
	if errors.As(err, &e) {
		return errors.New(e.Why)
	}
	return err
}
