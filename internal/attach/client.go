package attach

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"firma/internal/fault"
)

// Run is the launcher's side of an attached run.
type Run struct {
	*Line
	endpoint Endpoint
	run      id
	key      Key
}

// errImpostor is a listener that does not know what the Sidecar must know.
var errImpostor = errors.New("the listener did not prove that it is the Sidecar")

// Dial connects to the Sidecar at e and returns once both sides have proved who
// they are. secret is what a Sidecar on TCP shares with its runs; over a unix
// socket the kernel says whose each end is. Errors are faults.
func Dial(ctx context.Context, e Endpoint, secret string) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	conn, err := e.dial(ctx)
	if err != nil {
		return nil, unreachable(e, err)
	}
	r := &Run{Line: newLine(conn), endpoint: e}
	if err := r.handshake(ctx, conn, secret); err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

func unreachable(e Endpoint, err error) error {
	return fault.Wrap(err, "SidecarUnreachable", "the Sidecar at "+e.String()+" does not answer",
		"start it with `firma sidecar` or `firma sidecar start`")
}

// dial connects and checks what can be told without a word: who owns the socket,
// that the address is this machine's.
func (e Endpoint) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, e.Network, e.Address)
	if err != nil {
		return nil, err
	}
	if err := e.check(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (e Endpoint) check(conn net.Conn) error {
	if e.Network == "unix" {
		return OwnOrRoot(conn)
	}
	if addr := conn.RemoteAddr().(*net.TCPAddr); !addr.IP.IsLoopback() {
		return fmt.Errorf("%s is not this machine", addr)
	}
	return nil
}

func (r *Run) handshake(ctx context.Context, conn net.Conn, secret string) error {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	defer conn.SetDeadline(time.Time{})
	nonce := random[id]()
	addr := []byte(conn.RemoteAddr().String())
	var proof mac
	if r.endpoint.Network == "tcp" {
		proof = prove([]byte(secret), "client", nonce[:], addr)
	}
	if _, err := conn.Write(appendHeader(nil, Control, id{}, nonce, proof)); err != nil {
		return unreachable(r.endpoint, err)
	}
	y, err := readReply(r.in)
	switch {
	case errors.Is(err, errHeader):
		return fault.New("SidecarUnreachable", "something answers at "+r.endpoint.String()+", but it is not a firma Sidecar", "check the address")
	case err != nil:
		return unreachable(r.endpoint, err)
	case y.kind == noRuns:
		return fault.New("SidecarTakesNoRuns", "the Sidecar at "+r.endpoint.String()+" only answers questions over gRPC: it carries no calls",
			"name a Sidecar whose [sidecar.interceptor] mode is http_proxy or unix_socket")
	case y.kind == refused:
		return fault.New("SidecarAccessDenied", "the Sidecar at "+r.endpoint.String()+" does not let this account attach",
			"use the account that started it, or give both the same file: shared_secret_path in [sidecar.interceptor]")
	}
	r.run = y.run
	if r.endpoint.Network == "unix" {
		r.key = Key(y.value)
		return nil
	}
	if !y.value.equal(prove([]byte(secret), "server", nonce[:], y.run[:], addr)) {
		return fault.Wrap(errImpostor, "SidecarNotAuthentic", "what listens at "+r.endpoint.String()+" is not the Sidecar that shares a secret with this account",
			"find out which program took the address; or name the Sidecar's secret with shared_secret_path in [sidecar.interceptor]")
	}
	r.key = tcpKey(secret, nonce, y.run)
	return nil
}

// tcpKey is known to both ends without having been sent.
func tcpKey(secret string, nonce, run id) Key {
	return Key(prove([]byte(secret), "run", nonce[:], run[:]))
}

// Name is how the Sidecar calls the run's connections; it is no secret.
func (r *Run) Name() string { return hex.EncodeToString(r.run[:]) }

// Open makes another connection of the run. It returns once the Sidecar has
// proved that it is still the one that the run attached to; nothing of the agent
// has been sent by then.
func (r *Run) Open(ctx context.Context, k Kind) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	conn, err := r.endpoint.dial(ctx)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	nonce := random[id]()
	_, err = conn.Write(appendHeader(nil, k, r.run, nonce, member(r.key, k, nonce)))
	if err == nil {
		err = r.welcomed(conn, k, nonce)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

func (r *Run) welcomed(conn net.Conn, k Kind, nonce id) error {
	y, err := readReply(conn) // exactly its length: what follows is the agent's
	switch {
	case err != nil:
		return err
	case y.kind != granted:
		return errors.New("the Sidecar refused a connection of this run")
	case !y.value.equal(welcome(r.key, k, nonce)):
		return errImpostor
	}
	return nil
}

func member(key Key, k Kind, nonce id) mac {
	return prove(key[:], "member", []byte{byte(k)}, nonce[:])
}

func welcome(key Key, k Kind, nonce id) mac {
	return prove(key[:], "welcome", []byte{byte(k)}, nonce[:])
}
