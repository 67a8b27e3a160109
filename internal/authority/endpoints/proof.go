package endpoints

import (
	"net"
	"net/http"

	"firma/internal/wire"
)

// prove answers who listens here; see wire.ProofPath. Anybody may ask: the
// answer is worth nothing for another nonce or another address.
func prove(sign func(nonce, addr string) []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nonce := r.URL.Query().Get(wire.ProofParam)
		addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !ok || !wire.ValidNonce(nonce) {
			http.Error(w, "nonce must be 64 lower-case hex digits", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(sign(nonce, addr.String()))
	})
}
