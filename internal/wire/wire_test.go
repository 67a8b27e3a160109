package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// The numbers of the contract (wire.md 1). A change here breaks every Sidecar
// and Authority in the field.
func TestContractNumbers(t *testing.T) {
	tests := map[proto.Message]string{
		&firmav1.SidecarCredentials{}:       "workspace_id=1 sidecar_id=2 pre_shared_key=3",
		&firmav1.IssueCapabilityRequest{}:   "agent_id=1 requested_actions=2 resource_scope=3 session_id=4 requested_ttl_seconds=5 credentials=6",
		&firmav1.IssueCapabilityResponse{}:  "granted=1 token=2 deny_reason=3 deny_message=4",
		&firmav1.WatchPolicyBundleRequest{}: "current_version=1 credentials=2",
		&firmav1.PolicyBundleUpdate{}:       "bundle=1 updated_at=2",
		&firmav1.WatchRevocationsRequest{}:  "since=1 credentials=2",
		&firmav1.PolicyBundle{}:             "version=1 policies=2 entity_schema=3 ttl_seconds=4",
		&firmav1.RevocationEvent{}:          "token_id=1 reason=2 timestamp=3",
		&firmav1.CapabilityToken{}:          "token_id=1 agent_id=2 session_id=3 action_set=4 resource_scope=5 issued_at=6 expiry=7 context_hash=8 signature=9 format=10 budget_ceiling=11",
	}
	for m, want := range tests {
		if got := numbers(m.ProtoReflect().Descriptor()); got != want {
			t.Errorf("%s:\n got %s\nwant %s", m.ProtoReflect().Descriptor().Name(), got, want)
		}
	}
}

func numbers(d protoreflect.MessageDescriptor) string {
	var b strings.Builder
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		fmt.Fprintf(&b, " %s=%d", f.Name(), f.Number())
	}
	return strings.TrimPrefix(b.String(), " ")
}

func TestContractEnums(t *testing.T) {
	for n, want := range []string{"UNSPECIFIED", "ALLOW", "DENY", "ABORT", "MODIFY", "STEP_UP", "DEFER"} {
		if got := firmav1.EnforcementDecision(n).String(); got != "ENFORCEMENT_DECISION_"+want {
			t.Errorf("decision %d is %s, want %s", n, got, want)
		}
	}
	for n, want := range []string{"UNSPECIFIED", "PASETO_V4", "JWT_RS256"} {
		if got := firmav1.TokenFormat(n).String(); got != "TOKEN_FORMAT_"+want {
			t.Errorf("format %d is %s, want %s", n, got, want)
		}
	}
}

func TestPreSharedKey(t *testing.T) {
	tests := []struct {
		key   wire.PreSharedKey
		given string
		want  bool
	}{
		{"secret", "secret", true},
		{"secret", "Secret", false},
		{"secret", "secret ", false},
		{"secret", "", false},
		{"", "", false},
		{"", "secret", false},
	}
	for _, tt := range tests {
		if got := tt.key.Matches(tt.given); got != tt.want {
			t.Errorf("key %q given %q: %v, want %v", string(tt.key), tt.given, got, tt.want)
		}
	}
	if a, b := wire.NewPreSharedKey(), wire.NewPreSharedKey(); a == b || len(a) < 26 {
		t.Errorf("weak keys: %d characters, equal %v", len(a), a == b)
	}
}

func TestPreSharedKeyIsNeverPrinted(t *testing.T) {
	const key = wire.PreSharedKey("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", key)
	asJSON, err := json.Marshal(struct{ K wire.PreSharedKey }{key})
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("%s %v %+v %#v %s %s", key, key, struct{ K wire.PreSharedKey }{key}, key, asJSON, log.String())
	if strings.Contains(out, "hunter2") {
		t.Errorf("the key is readable in %q", out)
	}
}

func TestProof(t *testing.T) {
	pub, key, _ := ed25519.GenerateKey(nil)
	other, _, _ := ed25519.GenerateKey(nil)
	nonce, addr := wire.NewNonce(), "[::1]:4242"
	sig := ed25519.Sign(key, wire.ProofMessage(nonce, addr))
	tests := []struct {
		name        string
		pub         ed25519.PublicKey
		nonce, addr string
		sig         []byte
		want        bool
	}{
		{"right", pub, nonce, addr, sig, true},
		{"another key", other, nonce, addr, sig, false},
		{"no key", nil, nonce, addr, sig, false},
		{"another nonce", pub, wire.NewNonce(), addr, sig, false},
		{"another port", pub, nonce, "[::1]:4243", sig, false},
		{"short signature", pub, nonce, addr, sig[:63], false},
		{"no signature", pub, nonce, addr, nil, false},
	}
	for _, tt := range tests {
		if got := wire.VerifyProof(tt.pub, tt.nonce, tt.addr, tt.sig); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestValidNonce(t *testing.T) {
	good := wire.NewNonce()
	for s, want := range map[string]bool{
		good: true, "": false, good[1:]: false, good + "0": false,
		strings.ToUpper("a" + good[1:]): false, "\n" + good[1:]: false,
	} {
		if wire.ValidNonce(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
