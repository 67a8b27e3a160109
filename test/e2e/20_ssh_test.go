package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSSH: a whole session of OpenSSH by key, captured on its way: a command, files
// both ways, and git; another name's is refused. What the server's port carries is
// one tunnel, decided by name and port.
func TestSSH(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		dir := t.TempDir()
		client, known := filepath.Join(s.Project, "id"), filepath.Join(s.Project, "known")
		keygen(t, client)
		pub, err := os.ReadFile(client + ".pub")
		must(t, err)
		allowed := filepath.Join(dir, "authorized_keys")
		must(t, os.WriteFile(allowed, pub, 0o644))
		repo := filepath.Join(dir, "repo.git")
		for _, args := range [][]string{{"init", "-q", "--bare", "-b", "main", repo}} {
			out, err := exec.Command("git", args...).CombinedOutput()
			if err != nil {
				t.Fatalf("git %q: %v\n%s", args, err, out)
			}
		}
		at, key := s.sshd(t, "-o", "AuthorizedKeysFile="+allowed, "-o", "StrictModes=no", "-o", "PermitRootLogin=prohibit-password",
			"-o", "PasswordAuthentication=no", "-o", "Subsystem=sftp internal-sftp")
		must(t, errors.Join(os.WriteFile(known, []byte("ssh.test "+key+"\n"), 0o644), s.Account.OwnTree(s.Project)))
		user, err := exec.Command("id", "-un").Output() // of the server, which lets in its own account
		must(t, err)
		config := s.configure(t, settings{hosts: map[string]string{"ssh.test": at, "evil.test": at}, rules: tunnelRule("ssh.test:22")})
		p := sh(`install -m 600 id /tmp/id; cd /tmp
o="-i /tmp/id -o BatchMode=yes -o UserKnownHostsFile=$OLDPWD/known -o ConnectTimeout=20"; me=` + strings.TrimSpace(string(user)) + `
ssh $o $me@ssh.test 'echo executed; cat' < /etc/hostname > out; head -n 1 out
echo content > up; scp -q $o up $me@ssh.test:` + dir + `/up && scp -q $o $me@ssh.test:` + dir + `/up down && cat down
echo "get ` + dir + `/up sftp" | sftp -q -b - $o $me@ssh.test > /dev/null && cat sftp
git init -q -b main r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first
GIT_SSH_COMMAND="ssh $o" git push -q ssh://$me@ssh.test` + repo + ` main && GIT_SSH_COMMAND="ssh $o" git ls-remote -q ssh://$me@ssh.test` + repo + ` | cut -f 2
ssh $o $me@evil.test echo never 2>/dev/null || echo refused`)
		p.config = config
		r := s.run(t, p).wantCode(t, 0)
		if want := "executed\ncontent\ncontent\nHEAD\nrefs/heads/main\nrefused\n"; r.out != want {
			t.Errorf("the agent saw %q, want %q; %s", r.out, want, r.err)
		}
		events := r.events(t)
		if n := len(find(events, pattern("tunnel", "ALLOW", "", "ssh.test:22"))); n != 6 {
			t.Errorf("%d tunnels are recorded, want 6; the log has%s", n, told(events))
		}
		if len(find(events, pattern("dispatch", "ABORT", "", ""))) != 0 {
			t.Errorf("a session was cut; the log has%s", told(events))
		}
	})
}

func keygen(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (scripts/deps.sh test)", err, out)
	}
}
