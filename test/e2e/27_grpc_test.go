package e2e

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// TestGRPCClients: gRPC's own clients verify what firma shows them without a flag, get
// unary and streamed answers, and learn of a refusal by a status of gRPC.
func TestGRPCClients(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.bring(t, "testdata/clients", nodeLibraries(t)...)
		const rules = `
[[rules]]
host = "trust.test"
path = "/grpc.health.v1.Health/**"
action_class = "code.read"

[[rules]]
host = "trust.test"
path = "/test.Admin/**"
action_class = "repo.admin"
`
		p := sh("echo '== python'\n/usr/bin/python3 call_grpc.py trust.test:443\necho '== node'\nnode call_grpc.mjs trust.test:443")
		p.config = s.looksAt(t, map[string]string{"trust.test": s.grpc(t)}, rules, "")
		r := s.run(t, p)
		said, events := sections(r.out), r.events(t)
		for _, name := range []string{"python", "node"} {
			const serving = "0801\n" // the message HealthCheckResponse
			if want := serving + serving + "PERMISSION_DENIED firma: PolicyDenied: forbidden by policy \"dev.never\"\n"; said[name] != want {
				t.Errorf("%s: the agent saw %q, want %q\n%s", name, said[name], want, r.err)
			}
		}
		wantRecorded(t, events, 2, allow("trust.test/grpc.health.v1.Health/Check"))
		wantRecorded(t, events, 2, allow("trust.test/grpc.health.v1.Health/Watch"))
		wantRecorded(t, events, 2, pattern("request", "DENY", "PolicyDenied", "trust.test/test.Admin/Delete"))
		s.wantSealed(t, r)
	})
}

// grpc starts a health service of gRPC over TLS and returns its address.
func (s *stage) grpc(t *testing.T) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certs, "server.pem"), filepath.Join(s.certs, "server.key"))
	must(t, err)
	srv := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	healthpb.RegisterHealthServer(srv, health.NewServer())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(srv.Stop)
	return ln.Addr().String()
}
