// Package wire holds the messages the roles exchange, generated from the proto
// files beside it, and the few constants both ends of a connection must agree
// on. It decides nothing.
//
// firmav1 is the published contract (proto package firma.v1); witnessv1 is ours
// (firma.witness.v1), and interceptorv1 the published hook (firma.interceptor.v1).
// The generated code is committed: building needs no protoc.
package wire

//go:generate protoc -I proto --go_out=../.. --go_opt=module=firma --connect-go_out=../.. --connect-go_opt=module=firma firma/v1/authority.proto firma/witness/v1/witness.proto firma/interceptor/v1/hook.proto

// HeaderReplay is a response header of WatchRevocations: the decimal number of
// events the replay consists of. It is sent before the first event, so that a
// Sidecar knows when it has seen every revocation so far. An Authority that does
// not send it is waited for by time instead.
const HeaderReplay = "Firma-Revocation-Replay"

// The deny_reason codes of IssueCapabilityResponse.
const (
	DenyPolicy          = "POLICY_DENIED"
	DenyScope           = "SCOPE_EXCEEDED"
	DenyNotRegistered   = "AGENT_NOT_REGISTERED"
	DenyProfileMismatch = "AGENT_PROFILE_MISMATCH"
)

// MaxBundleBytes is the most Cedar text (and, separately, schema text) a bundle
// may hold. An Authority refuses to load more, so that it never serves what a
// Sidecar refuses.
const MaxBundleBytes = 8 << 20
