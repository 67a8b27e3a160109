package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// Enforcer decides every call. All methods are safe for concurrent use and must
// not wait for the network.
type Enforcer interface {
	// Enforce decides one call and writes the decision's audit event before it
	// returns. c is not kept and not changed.
	Enforce(ctx context.Context, c *intent.Call) verdict.Decision
	// Admit decides whether the stream that c, a CONNECT, asks for may be opened to
	// be looked into, and audits that. It judges the destination only: each call
	// inside is for Enforce, and an Allow of Admit is no permission to send
	// anything.
	Admit(ctx context.Context, c *intent.Call) verdict.Decision
	// Contactable reports whether some call to c's destination could be allowed
	// now, whatever its path. Only then may the upstream of an admitted stream be
	// connected to before a call was allowed, to learn which protocols it speaks.
	// Nothing is counted or audited.
	Contactable(c *intent.Call) bool
	// OwnTunnel reports whether a rule was written for tunnels to c's host on c's
	// port, other than 80 and 443: what is spoken there is no matter of the web's.
	OwnTunnel(c *intent.Call) bool
	// Malformed audits bytes that never became a Call and returns the refusal.
	// detail quotes nothing of the request.
	Malformed(ctx context.Context, transport, detail string) verdict.Decision
	// Refuse audits a DENY that only showed after the ALLOW prior (the address
	// class of a resolved name) and returns the decision to answer with. It
	// takes the place of Dispatched. A limit may refuse before anything was judged:
	// prior then names at most the resource, and c is nil where there is no call.
	Refuse(ctx context.Context, c *intent.Call, prior verdict.Decision, reason verdict.Reason, detail string) verdict.Decision
	// Dispatched records how the dispatch of an allowed call ended, once per
	// dispatch. It may wait for room.
	Dispatched(d verdict.Decision, r Dispatch)
	// Roomy reports whether there is room enough for some of what Dispatched records.
	Roomy() bool
}

// Dispatch is how the dispatch of one allowed call ended.
type Dispatch struct {
	Status  int            // of the upstream's final response; 200 for a tunnel; 0 if none came
	Abort   verdict.Reason // None, or the code of what broke it off
	Detail  string         // of the abort
	Latency time.Duration  // from the decision to the response head, or to the tunnel
	// Bytes of body content read from the upstream and sent to it: what the
	// messages carried, without heads and chunk framing. Of a tunnel, all bytes.
	ResponseBytes, RequestBytes int64
}

// Dialer connects to a destination after the ALLOW, and gives up by itself in time. An
// error may carry
//
//	Refusal() (verdict.Reason, string)
//
// whose reason is DestinationForbidden (a DENY) or an abort code; any other error
// is CONNECTOR_FAILURE, or CONNECTOR_TIMEOUT when it says it timed out.
type Dialer interface {
	Dial(ctx context.Context, host string, port uint16) (net.Conn, error)
}

// TLSDialer connects to a destination and verifies that it is the one, offering
// protos by ALPN. Its errors are as Dialer's.
type TLSDialer interface {
	DialTLS(ctx context.Context, host string, port uint16, protos []string) (*tls.Conn, error)
}

// Interceptor says which hosts' streams are looked into, and how.
type Interceptor interface {
	Covers(host string) bool
	// Strict reports whether a stream that can't be looked into must end.
	Strict(host string) bool
	// Terminate ends the client's TLS on nc, of which first was read before, as
	// host, speaking proto.
	Terminate(ctx context.Context, nc net.Conn, first []byte, host, proto string) (*tls.Conn, error)
	// Known returns the protocol that a destination was last seen to speak, which
	// Learn was told.
	Known(host string, port uint16) (proto string, ok bool)
	Learn(host string, port uint16, proto string)
}

// HTTP2 serves HTTP/2. Recheck and Drain are as Server's.
type HTTP2 interface {
	// ServeConn serves nc, whose requests are all for host and port, to its end.
	ServeConn(ctx context.Context, nc net.Conn, host string, port uint16)
	// Adopt keeps a connection that was made to learn the protocols of host and
	// port, for their next request.
	Adopt(host string, port uint16, c *tls.Conn)
	Recheck(still func(*intent.Call, verdict.Decision) verdict.Reason) int
	Drain(ctx context.Context) error
}
