package standalone

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"firma/internal/attach"
	"firma/internal/testkit/world"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
	"firma/internal/wire/firmav1/firmav1connect"
)

// played is an Authority that proves the plane's key and answers each request for a
// capability alike.
type played struct {
	firmav1connect.UnimplementedAuthorityServiceHandler
	answer *firmav1.IssueCapabilityResponse
	err    error
}

func (p *played) IssueCapability(context.Context, *connect.Request[firmav1.IssueCapabilityRequest]) (*connect.Response[firmav1.IssueCapabilityResponse], error) {
	if p.err != nil {
		return nil, p.err
	}
	return connect.NewResponse(p.answer), nil
}

func (p *played) WatchPolicyBundle(ctx context.Context, _ *connect.Request[firmav1.WatchPolicyBundleRequest], s *connect.ServerStream[firmav1.PolicyBundleUpdate]) error {
	err := s.Send(&firmav1.PolicyBundleUpdate{Bundle: &firmav1.PolicyBundle{Version: "v1", Policies: []byte("permit (principal, action, resource);\n"), TtlSeconds: 30}})
	<-ctx.Done()
	return errors.Join(err, ctx.Err())
}

func (p *played) WatchRevocations(ctx context.Context, _ *connect.Request[firmav1.WatchRevocationsRequest], s *connect.ServerStream[firmav1.RevocationEvent]) error {
	s.ResponseHeader().Set(wire.HeaderReplay, "0")
	err := s.Send(nil) // headers only
	<-ctx.Done()
	return errors.Join(err, ctx.Err())
}

// play serves it and returns its URL.
func (c *controlPlane) play(p *played) string {
	t := c.s.t
	t.Helper()
	key, err := os.ReadFile(filepath.Join(c.dir, "firma-authority.key"))
	must(t, err)
	mux := http.NewServeMux()
	mux.Handle(firmav1connect.NewAuthorityServiceHandler(p))
	mux.HandleFunc(wire.ProofPath, func(w http.ResponseWriter, r *http.Request) {
		addr := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(ed25519.Sign(key, wire.ProofMessage(r.URL.Query().Get(wire.ProofParam), addr)))
	})
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

// wantRefusedRun fails unless a run ends before its command with this fault and a fix.
func (s *stage) wantRefusedRun(t *testing.T, state, fault string, args ...string) {
	t.Helper()
	o := s.Run(t, world.Command{Args: append(append([]string{s.Firma, "run"}, args...), "--", "echo", "executed"), Env: []string{"FIRMA_STATE_DIR=" + state}})
	if o.Code != 125 || !strings.Contains(o.Stderr, "firma: error: "+fault+": ") || !strings.Contains(o.Stderr, "firma: fix: ") || o.Stdout != "" {
		t.Errorf("status %d, want 125, %s and a fix\n%s%s", o.Code, fault, o.Stdout, o.Stderr)
	}
}

// TestAnswersOfAnAuthority: what an Authority of another make may answer to the
// request for a run's capability, each by its name, and no launch.
func TestAnswersOfAnAuthority(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		c := s.plane("")
		s.write(filepath.Base(c.state)+"/keys/authority.psk", strings.Repeat("k", 43)+"\n")
		for name, w := range map[string]struct {
			p     played
			fault string
		}{
			"not registered":   {played{answer: &firmav1.IssueCapabilityResponse{DenyReason: wire.DenyNotRegistered}}, "AgentNotRegistered"},
			"another profile":  {played{answer: &firmav1.IssueCapabilityResponse{DenyReason: wire.DenyProfileMismatch}}, "AgentProfileMismatch"},
			"denied":           {played{answer: &firmav1.IssueCapabilityResponse{DenyReason: wire.DenyPolicy}}, "CapabilityDenied"},
			"no token":         {played{answer: &firmav1.IssueCapabilityResponse{Granted: true}}, "Capability"},
			"not understood":   {played{err: connect.NewError(connect.CodeInvalidArgument, errors.New("which release is this?"))}, "AuthorityRequestRefused"},
			"key is not known": {played{err: connect.NewError(connect.CodeUnauthenticated, errors.New("who?"))}, "AuthorityAccessDenied"},
			"no such call":     {played{err: connect.NewError(connect.CodeUnimplemented, errors.New("what?"))}, "AuthorityTransportAmbiguous"},
		} {
			t.Run(name, func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				config := s.write("played.toml", c.led(anyPort, c.play(&w.p)))
				s.wantRefusedRun(t, c.state, w.fault, "--config", config)
			})
		}
	})
}

// TestCopyOfASidecar: a listener that answers as a Sidecar does, without the secret,
// is not taken for one.
func TestCopyOfASidecar(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		state := s.fresh("state")
		must(t, errors.Join(os.Mkdir(state+"/keys", 0o700), s.Account.OwnTree(state)))
		s.write(filepath.Base(state)+"/keys/sidecar.secret", strings.Repeat("s", 43)+"\n")
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		var conns sync.WaitGroup
		conns.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				conns.Go(func() {
					defer c.Close()
					fmt.Fprintf(c, "%sK %s %s\n", attach.Magic, strings.Repeat("0", 32), strings.Repeat("0", 64))
					_, _ = io.Copy(io.Discard, c)
				})
			}
		})
		t.Cleanup(func() { ln.Close(); conns.Wait() })
		s.wantRefusedRun(t, state, "SidecarNotAuthentic", "--config", s.Base+"/run.toml", "--sidecar", "tcp://"+ln.Addr().String())
	})
}
