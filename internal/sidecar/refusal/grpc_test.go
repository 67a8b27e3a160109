package refusal

import (
	"testing"
	"time"

	"firma/internal/verdict"
)

func TestGRPC(t *testing.T) {
	for _, tt := range []struct {
		d             verdict.Decision
		code, message string
	}{
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "100 % no\n", Hint: "é"}, "7", "firma: PolicyDenied: 100 %25 no%0A: %C3%A9"},
		{verdict.Decision{}, "7", "firma: FailClosed: no decision was made"},
		{verdict.Decision{Outcome: verdict.Defer, RetryAfter: time.Second}, "7", "firma: Deferred: retry_after_ms: 1000"},
		{verdict.Decision{Outcome: verdict.Abort, Reason: verdict.ConnectorTimeout}, "14", "firma: CONNECTOR_TIMEOUT"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.RateLimited}, "8", "firma: RateLimited"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.RequestBodyTooLarge}, "8", "firma: RequestBodyTooLarge"},
	} {
		if code, message := GRPC(Settle(tt.d)); code != tt.code || message != tt.message {
			t.Errorf("%+v: %s %q, want %s %q", tt.d, code, message, tt.code, tt.message)
		}
	}
	for typ, want := range map[string]bool{"application/grpc": true, "Application/gRPC+proto": true, "application/grpc; charset=x": true,
		"application/grpc-web": false, "application/grpc-web+proto": false, "application/json": false, "": false} {
		if IsGRPC(typ) != want {
			t.Errorf("IsGRPC(%q) is %v", typ, !want)
		}
	}
}
