package endpoints

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"

	"firma/internal/wire"
	"firma/internal/wire/firmav1"
	"firma/internal/wire/firmav1/firmav1connect"
	"firma/internal/wire/witnessv1/witnessv1connect"
)

// caller is a kind of caller. The zero value is nobody.
type caller uint8

const (
	nobody  caller = iota
	sidecar        // presents the pre-shared key in the message's credentials
)

// access says who may call what. A method that is not here may be called by
// nobody; a test walks the table both ways.
var access = map[string]caller{
	firmav1connect.AuthorityServiceIssueCapabilityProcedure:   sidecar,
	firmav1connect.AuthorityServiceWatchPolicyBundleProcedure: sidecar,
	firmav1connect.AuthorityServiceWatchRevocationsProcedure:  sidecar,
	witnessv1connect.WitnessServiceSubmitCheckpointProcedure:  sidecar,
}

// guard is the one place that authorizes: a handler runs only after the first
// message has passed it.
type guard struct {
	key       wire.PreSharedKey
	anonymous bool // no key is asked for
	log       *slog.Logger
}

var errDenied = connect.NewError(connect.CodePermissionDenied, errors.New("missing or wrong pre_shared_key"))

// credentialed is implemented by every request message.
type credentialed interface {
	GetCredentials() *firmav1.SidecarCredentials
}

func (g *guard) allow(spec connect.Spec, peer connect.Peer, msg any) error {
	m, ok := msg.(credentialed)
	if ok && access[spec.Procedure] == sidecar {
		if g.anonymous || g.key.Matches(m.GetCredentials().GetPreSharedKey()) {
			return nil
		}
	}
	g.log.Warn("call refused", "method", spec.Procedure, "peer", peer.Addr)
	return errDenied
}

// WrapUnary implements connect.Interceptor.
func (g *guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := g.allow(req.Spec(), req.Peer(), req.Any()); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingClient implements connect.Interceptor; there is no client here.
func (g *guard) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler implements connect.Interceptor.
func (g *guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return next(ctx, &guardedConn{conn, g})
	}
}

// guardedConn refuses a message before the handler sees it.
type guardedConn struct {
	connect.StreamingHandlerConn
	guard *guard
}

func (c *guardedConn) Receive(msg any) error {
	if err := c.StreamingHandlerConn.Receive(msg); err != nil {
		return err
	}
	return c.guard.allow(c.Spec(), c.Peer(), msg)
}

// noBrowser refuses what a web page sends: no browser has business here, and a
// page can reach loopback.
func noBrowser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			http.Error(w, "not for browsers", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
