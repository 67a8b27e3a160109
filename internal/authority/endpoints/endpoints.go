// Package endpoints decodes calls, hands them to the mechanisms and encodes what
// they answer. Who may call what is the table in access.go.
package endpoints

import (
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"firma/internal/authority/bundle"
	"firma/internal/authority/issue"
	"firma/internal/authority/revocation"
	"firma/internal/authority/witness"
	"firma/internal/wire"
	"firma/internal/wire/firmav1/firmav1connect"
	"firma/internal/wire/witnessv1/witnessv1connect"
)

// MaxRequestBytes is the largest request message. An issuance for every action
// class is about 2 KiB.
const MaxRequestBytes = 64 << 10

// Config is what the endpoints serve. Every field but Key is required; Key may
// be empty only with Anonymous.
type Config struct {
	Issuer      *issue.Issuer
	Bundles     *bundle.Source
	Revocations *revocation.Log
	Witness     *witness.Witness
	Prove       func(nonce, addr string) []byte // keys.Signer.Prove

	Key       wire.PreSharedKey
	Anonymous bool // serve callers without a key

	After func(time.Duration) <-chan time.Time
	Log   *slog.Logger
}

// New returns the handler of every endpoint. It speaks gRPC, gRPC-Web and
// Connect (JSON over POST), without compression, and is safe for concurrent use.
func New(cfg Config) http.Handler {
	options := []connect.HandlerOption{
		connect.WithInterceptors(&guard{cfg.Key, cfg.Anonymous, cfg.Log}),
		connect.WithReadMaxBytes(MaxRequestBytes),
		connect.WithCompression("gzip", nil, nil),
	}
	mux := http.NewServeMux()
	mux.Handle(firmav1connect.NewAuthorityServiceHandler(&authority{cfg}, options...))
	mux.Handle(witnessv1connect.NewWitnessServiceHandler(&witnessing{cfg.Witness}, options...))
	mux.Handle("GET "+wire.ProofPath, prove(cfg.Prove))
	return noBrowser(bounded(mux))
}
