package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecondServerName: where the server asks for a second ClientHello, that one
// names the tunnel's host, too. OpenSSL's server goes by the second one, which the
// same client shows outside: it gets the other host's certificate there.
func TestSecondServerName(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		dir := t.TempDir()
		for _, name := range []string{"tunnel.test", "evil.test"} {
			file := filepath.Join(dir, name)
			out, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
				"-subj", "/CN="+name, "-keyout", file+".key", "-out", file+".pem").CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s (scripts/deps.sh test)", err, out)
			}
		}
		at := s.daemon(t, "ACCEPT", func(_, port string) []string {
			return []string{"openssl", "s_server", "-accept", "127.0.0.1:" + port, "-groups", "P-384", "-www",
				"-cert", dir + "/tunnel.test.pem", "-key", dir + "/tunnel.test.key",
				"-servername", "evil.test", "-cert2", dir + "/evil.test.pem", "-key2", dir + "/evil.test.key"}
		})
		outside := s.World.Run(t, cmdOf("/usr/bin/python3", "retry.py", "direct", at, "tunnel.test", "evil.test"))
		if outside.Stdout != "direct /CN=evil.test 1\n" {
			t.Fatalf("INVALID: outside it is %q %s", outside.Stdout, outside.Stderr)
		}
		p := sh(`for way in direct http socks; do
/usr/bin/python3 retry.py $way tunnel.test:443 tunnel.test tunnel.test
/usr/bin/python3 retry.py $way tunnel.test:443 tunnel.test evil.test
done
curl -sS -k --curves X25519:P-384 https://tunnel.test/ | grep -c '^New, TLSv1.3'
openssl s_client -groups X25519:P-384 -proxy 127.0.0.1:18080 -connect tunnel.test:443 -servername tunnel.test -msg </dev/null 2>&1 | grep -c ClientHello`)
		p.config = s.configure(t, settings{hosts: map[string]string{"tunnel.test": at}, rules: tunnelRule("tunnel.test")})
		r := s.run(t, p).wantCode(t, 0)
		var want strings.Builder
		for _, way := range []string{"direct", "http", "socks"} {
			want.WriteString(way + " /CN=tunnel.test 1\n" + way + " nothing 1\n")
		}
		want.WriteString("1\n2\n")
		if r.out != want.String() {
			t.Errorf("the agent saw %q, want %q; %s", r.out, want.String(), r.err)
		}
		events := r.events(t)
		wantRecorded(t, events, 8, pattern("tunnel", "ALLOW", "", "tunnel.test"))
		wantRecorded(t, events, 3, pattern("egress", "DENY", "MalformedRequest", "tunnel.test"))
		s.wantSealed(t, r)
	})
}
