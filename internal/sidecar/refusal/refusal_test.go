package refusal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"firma/internal/verdict"
)

func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		d      verdict.Decision
		reason verdict.Reason
		status int
		retry  string
	}{
		{verdict.Decision{}, verdict.FailClosed, 403, ""},
		{verdict.Decision{Outcome: verdict.Deny}, verdict.FailClosed, 403, ""},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied}, verdict.PolicyDenied, 403, ""},
		{verdict.Decision{Outcome: verdict.StepUp}, verdict.StepUpRequired, 403, ""},
		{verdict.Decision{Outcome: verdict.Defer, RetryAfter: 1500 * time.Millisecond}, verdict.Deferred, 403, "2"},
		{verdict.Decision{Outcome: verdict.Abort}, verdict.ConnectorFailure, 504, ""},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.RequestBodyTooLarge}, verdict.RequestBodyTooLarge, 413, ""},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.RateLimited, RetryAfter: 10 * time.Millisecond}, verdict.RateLimited, 429, "1"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.SessionMemoryExhausted}, verdict.SessionMemoryExhausted, 503, "1"},
	} {
		d := Settle(tt.d)
		if code, _ := Status(d); d.Reason != tt.reason || code != tt.status || RetryAfter(d) != tt.retry {
			t.Errorf("%+v: %s, %d, %q", tt.d, d.Reason, code, RetryAfter(d))
		}
		var body map[string]any
		if err := json.Unmarshal(Body(d), &body); err != nil || body["reason"] != string(tt.reason) {
			t.Errorf("%+v: body %s (%v)", tt.d, Body(d), err)
		}
		if _, aborted := body["aborted"]; aborted != (tt.status == 504) {
			t.Errorf("%+v: body %s", tt.d, Body(d))
		}
	}
}

func TestBodyIsJSON(t *testing.T) {
	d := verdict.Decision{Outcome: verdict.Deny, Reason: "R", Detail: "a\"\\\n\x00\xff\u2028", Resource: "h/p", EventID: "aevt_1", ActionClass: "c", Hint: "do"}
	var body map[string]any
	if err := json.Unmarshal(Body(d), &body); err != nil {
		t.Fatal(err)
	}
	if body["detail"] != "a\"\\\n\x00\ufffd\u2028" || body["hint"] != "do" || body["event_id"] != "aevt_1" {
		t.Errorf("%s", Body(d))
	}
	if e, _ := body["error"].(map[string]any); e["message"] != "firma: R: a\"\\\n\x00\ufffd\u2028" {
		t.Errorf("%s", Body(d))
	}
}

func TestEventIsOneToken(t *testing.T) {
	for id, want := range map[string]string{"aevt_01-x": "aevt_01-x", "a\r\nb": "", "": ""} {
		if got := Event(verdict.Decision{EventID: id}); got != want {
			t.Errorf("Event(%q) = %q", id, got)
		}
	}
}

type forbidden struct{ error }

func (forbidden) Refusal() (verdict.Reason, string) { return verdict.DestinationForbidden, "no" }

func TestOfDial(t *testing.T) {
	for _, tt := range []struct {
		err   error
		want  verdict.Reason
		abort bool
	}{
		{fmt.Errorf("dial: %w", forbidden{errors.New("x")}), verdict.DestinationForbidden, false},
		{context.DeadlineExceeded, verdict.ConnectorTimeout, true},
		{errors.New("x"), verdict.ConnectorFailure, true},
	} {
		if got, _ := OfDial(tt.err); got != tt.want || IsAbort(got) != tt.abort {
			t.Errorf("%v: %s", tt.err, got)
		}
	}
}

func TestPhrase(t *testing.T) {
	for _, tt := range []struct {
		d    verdict.Decision
		want string
	}{
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.UnclassifiedIntent, Detail: "no mapping rule covers a.test"}, "Forbidden (firma: UnclassifiedIntent: no mapping rule covers a.test)"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied}, "Forbidden (firma: PolicyDenied)"},
		{verdict.Decision{Outcome: verdict.Abort, Reason: verdict.ConnectorTimeout, Detail: "x"}, "Gateway Timeout (firma: CONNECTOR_TIMEOUT: x)"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "a\r\nX: é\x00\xff"}, "Forbidden (firma: PolicyDenied: a??X: ???)"},
		{verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: strings.Repeat("a", 500)}, "Forbidden (firma: PolicyDenied: " + strings.Repeat("a", 186) + ")"},
	} {
		if got := Phrase(tt.d); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
