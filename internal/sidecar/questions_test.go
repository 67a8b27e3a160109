//go:build unix

package sidecar

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"firma/internal/attach"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/wire/interceptorv1"
	"firma/internal/wire/interceptorv1/interceptorv1connect"
)

// asker is a client of the hook.
func (a *alone) asker() interceptorv1connect.InterceptorHookClient {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, a.o.Listen.Network, a.listen)
	}
	a.t.Cleanup(tr.CloseIdleConnections)
	return interceptorv1connect.NewInterceptorHookClient(&http.Client{Transport: tr}, "http://sidecar", connect.WithGRPC())
}

// TestQuestions: a port that answers questions decides as any other way in, counts
// with the same counters, and carries nothing.
func TestQuestions(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		stage := staged(t, "own")
		a := startAlone(t, func(o *Options) {
			stage(o)
			o.GRPC = true
			if network == "unix" {
				o.Listen = control.Endpoint{Network: "unix", Address: filepath.Join(t.TempDir(), "s.sock")}
			}
		})
		c := a.asker()
		ask := func(q *interceptorv1.InterceptRequest) string {
			t.Helper()
			r, err := c.Intercept(context.Background(), connect.NewRequest(q))
			if err != nil {
				t.Fatal(err)
			}
			if r.Msg.Allowed != (r.Msg.Reason == "") {
				t.Errorf("%v", r.Msg)
			}
			return r.Msg.Reason
		}
		for _, w := range []struct{ host, session, reason string }{
			{"plain.test", "own", ""}, {"plain.test", "", ""}, {"plain.test", "another", "MalformedRequest: "},
			{"nowhere.test", "", "UnclassifiedIntent: "}, {"other.test", "", "CapabilityScopeMismatch: "}, {a.health, "", "DestinationForbidden: "},
			{"plain.test", "", ""}, {"plain.test", "", ""}, {"plain.test", "", ""}, {"plain.test", "", "CapabilityScopeMismatch: "}, // the sixth
		} {
			if got := ask(&interceptorv1.InterceptRequest{Method: "GET", Host: w.host, Path: "/a", SessionId: w.session}); !strings.HasPrefix(got, w.reason) || w.reason == "" && got != "" {
				t.Errorf("%s: %s: %q, want %q", network, w.host, got, w.reason)
			}
		}
		if _, err := attach.Dial(context.Background(), attach.Endpoint{Network: network, Address: a.listen}, testSecret); fault.NameOf(err) != "SidecarTakesNoRuns" {
			t.Errorf("a run attached: %v", err)
		}
		if code, body := a.healthz(); code != 200 {
			t.Errorf("%d %s", code, body)
		}
		if err := a.end(); err != nil {
			t.Error(err)
		}
		a.verified()
	}
}
