package e2e

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPostgreSQL: real psql and server, captured on its way. Its TLS begins after a
// plain preamble, which a tunnel carries as it comes; another port and another name
// are refused.
func TestPostgreSQL(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		bin, at := s.postgres(t)
		config := s.configure(t, settings{hosts: map[string]string{"db.test": at, "other.test": at}, rules: tunnelRule("db.test:5432")})
		p := sh(`psql() { ` + bin + `/psql -X -A -t "$@"; }
psql 'host=db.test user=tester dbname=postgres sslmode=disable' -c "create table seen as select 42 as n" -c 'select n from seen'
psql 'host=db.test user=tester dbname=postgres sslmode=require' -c 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' -c "select length(repeat('x', 3000000))"
psql 'host=db.test port=5433 user=tester dbname=postgres connect_timeout=10' -c 'select 1' 2>/dev/null || echo refused
psql 'host=other.test user=tester dbname=postgres connect_timeout=10' -c 'select 1' 2>/dev/null || echo refused`)
		p.config = config
		r := s.run(t, p).wantCode(t, 0)
		if want := "SELECT 1\n42\nt\n3000000\nrefused\nrefused\n"; r.out != want {
			t.Errorf("the agent saw %q, want %q; %s", r.out, want, r.err)
		}
		events := r.events(t)
		if n := len(find(events, pattern("tunnel", "ALLOW", "", "db.test:5432"))); n != 2 {
			t.Errorf("%d tunnels are recorded, want 2; the log has%s", n, told(events))
		}
		if len(find(events, pattern("tunnel", "DENY", "UnclassifiedIntent", "db.test:5433"))) == 0 {
			t.Errorf("the other port is not recorded; the log has%s", told(events))
		}
	})
}

// postgres starts a server with one superuser, tester, whom it trusts, and returns
// where its programs are and its address.
func (s *stage) postgres(t *testing.T) (bin, at string) {
	t.Helper()
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(all) == 0 {
		t.Fatal("PostgreSQL is not installed (scripts/deps.sh test)")
	}
	bin = filepath.Dir(all[len(all)-1])
	var as []string // it refuses to run as root
	dir := t.TempDir()
	if os.Getuid() == 0 {
		as = []string{"setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"}
		u, err := user.Lookup("postgres")
		must(t, err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		dir = filepath.Join("/tmp", "firma-pg-"+strconv.Itoa(os.Getpid())+"-"+filepath.Base(s.Base))
		must(t, errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid)))
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	data := filepath.Join(dir, "data")
	run := func(words ...string) {
		t.Helper()
		words = append(append([]string{}, as...), words...)
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", words, err, out)
		}
	}
	run(bin+"/initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", "--no-instructions", "-E", "UTF8", "--locale=C")
	run("openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=db.test", "-newkey", "rsa:2048", "-keyout", data+"/server.key", "-out", data+"/server.crt")
	run("chmod", "600", data+"/server.key")
	at = s.daemon(t, "ready to accept connections", func(_, port string) []string {
		return append(append([]string{}, as...), bin+"/postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-c", "ssl=on", "-c", "fsync=off", "-c", "jit=off")
	})
	return bin, at
}
