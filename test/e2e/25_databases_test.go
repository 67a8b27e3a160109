package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestMariaDB: real client and server, captured on its way. The server speaks first;
// its TLS begins inside its own protocol. Another port and another name are refused.
func TestMariaDB(t *testing.T) {
	at := new(stage).mariadb(t) // one for all: it takes seconds to start
	everyone(t, func(t *testing.T, s *stage) {
		p := sh(`sql() { mariadb -N -B -u tester --connect-timeout=20 "$@"; }
sql -h db.test --skip-ssl -e "create or replace table test.seen select 42 as n; select n from test.seen; show status like 'Ssl_version'"
sql -h db.test --ssl -e "show status like 'Ssl_version'; select length(repeat('x', 3000000))"
sql -h db.test -P 3307 -e 'select 1' 2>/dev/null || echo refused
sql -h other.test -e 'select 1' 2>/dev/null || echo refused`)
		p.config = s.configure(t, settings{hosts: map[string]string{"db.test": at, "other.test": at}, rules: tunnelRule("db.test:3306")})
		r := s.run(t, p).wantCode(t, 0)
		if want := "42\nSsl_version\t\nSsl_version\tTLSv1.3\n3000000\nrefused\nrefused\n"; r.out != want {
			t.Errorf("the agent saw %q, want %q; %s", r.out, want, r.err)
		}
		events := r.events(t)
		if n := len(find(events, pattern("tunnel", "ALLOW", "", "db.test:3306"))); n != 2 {
			t.Errorf("%d tunnels are recorded, want 2; the log has%s", n, told(events))
		}
		if len(find(events, pattern("tunnel", "DENY", "UnclassifiedIntent", "db.test:3307"))) == 0 {
			t.Errorf("the other port is not recorded; the log has%s", told(events))
		}
	})
}

// TestMemcached: what one run stores, captured on its way, is there; another port is
// refused and changes nothing.
func TestMemcached(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		at := s.daemon(t, "", func(_, port string) []string {
			return []string{"memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-U", "0"}
		})
		p := sh(`cd /tmp && echo here > canary && memccp --servers=cache.test canary && memccat --servers=cache.test canary
echo gone > canary; timeout 20 memccp --servers=cache.test:11212 canary 2>/dev/null || echo refused
memccat --servers=cache.test canary`)
		p.config = s.configure(t, settings{hosts: map[string]string{"cache.test": at}, rules: tunnelRule("cache.test:11211")})
		r := s.run(t, p).wantCode(t, 0)
		if want := "here\n\nrefused\nhere\n\n"; r.out != want {
			t.Errorf("the agent saw %q, want %q; %s", r.out, want, r.err)
		}
		events := r.events(t)
		wantRecorded(t, events, 3, pattern("tunnel", "ALLOW", "", "cache.test:11211"))
		if len(find(events, pattern("tunnel", "DENY", "UnclassifiedIntent", "cache.test:11212"))) == 0 {
			t.Errorf("the other port is not recorded; the log has%s", told(events))
		}
	})
}

// mariadb starts a server with one account, tester, who needs no password, and returns
// its address.
func (s *stage) mariadb(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "firma-db-") // its socket's path must be short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	user := "--user=" + strconv.Itoa(os.Getuid()) // it runs as root only if told to
	data, first := filepath.Join(dir, "data"), filepath.Join(dir, "first.sql")
	must(t, errors.Join(os.WriteFile(first, []byte("CREATE DATABASE test;\nCREATE USER tester;\nGRANT ALL ON test.* TO tester;\n"), 0o644)))
	for _, words := range [][]string{
		{"mariadb-install-db", "--no-defaults", "--datadir=" + data, user, "--skip-test-db", "--auth-root-authentication-method=normal"},
		{"openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=db.test", "-newkey", "rsa:2048", "-keyout", dir + "/key.pem", "-out", dir + "/cert.pem"},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s (scripts/deps.sh test)", words, err, out)
		}
	}
	return s.daemon(t, "ready for connections", func(_, port string) []string {
		return []string{"/usr/sbin/mariadbd", "--no-defaults", "--datadir=" + data, user, "--port=" + port, "--bind-address=127.0.0.1", "--socket=" + dir + "/s",
			"--init-file=" + first, "--ssl-cert=" + dir + "/cert.pem", "--ssl-key=" + dir + "/key.pem", "--innodb-flush-log-at-trx-commit=0", "--max-allowed-packet=16M", "--skip-name-resolve"}
	})
}
