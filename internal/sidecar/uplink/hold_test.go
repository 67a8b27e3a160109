package uplink

import (
	"context"
	"testing"
	"time"

	"firma/internal/action"
	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// One line to the Authority serves several sessions, each with a capability of
// its own that is renewed until its session ends.
func TestHold(t *testing.T) {
	f := newFake(t)
	f.issue = func(r *firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
		if r.GetSessionId() == "refused" {
			return &firmav1.IssueCapabilityResponse{DenyReason: wire.DenyPolicy}, nil
		}
		c := claims(r)
		c.Expiry = c.IssuedAt.Add(2 * time.Second) // renewed every second
		return f.grant(t, c), nil
	}
	cfg := f.config()
	cfg.Request = nil
	u := started(t, cfg)
	hold := func(ctx context.Context, session string) (chan *capability.Token, error) {
		got := make(chan *capability.Token, 100)
		err := u.Hold(ctx, Request{AgentID: "agent", SessionID: session, Actions: []action.Class{"code.read"}},
			func(t *capability.Token) { got <- t })
		return got, err
	}
	one, endOne := context.WithCancel(context.Background())
	defer endOne()
	two, endTwo := context.WithCancel(context.Background())
	defer endTwo()
	first, err := hold(one, "one")
	if err != nil {
		t.Fatal(err)
	}
	second, err := hold(two, "two")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := <-first, <-second; a.SessionID != "one" || b.SessionID != "two" {
		t.Fatalf("%s and %s", a.SessionID, b.SessionID)
	}
	if a := <-first; a.SessionID != "one" {
		t.Errorf("renewed for %s", a.SessionID)
	}
	if n := u.Tokens().Len(); n != 0 {
		t.Errorf("%d tokens are everybody's", n)
	}
	endOne()
	<-second // the other goes on
	if got, err := hold(two, "refused"); fault.NameOf(err) != "CapabilityDenied" || len(got) != 0 {
		t.Errorf("%v, %d tokens", err, len(got))
	}
	if _, err := hold(two, ""); fault.NameOf(err) != "ConfigValidation" {
		t.Errorf("no session: %v", err)
	}
	u.Close()
	if _, err := hold(two, "late"); err == nil {
		t.Error("a capability after the end")
	}
}
