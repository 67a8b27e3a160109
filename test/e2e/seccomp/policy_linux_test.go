package seccomp

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const policyVar = "FIRMA_RUN_MANAGED_SECCOMP_POLICY_PATH="

// policy writes a policy source of the account and returns its path.
func (b *bench) policy(t *testing.T, actions string) string {
	t.Helper()
	path := filepath.Join(b.Home, "policy.toml")
	text := "policy_id = \"own\"\npolicy_version = \"1\"\ndefault_action = \"allow\"\ndeny_actions = [" + actions + "]\nsource_policy_refs = [\"test\"]\n"
	must(t, os.WriteFile(path, []byte(text), 0o600))
	must(t, b.Account.Own(path))
	return path
}

func (b *bench) sh(t *testing.T, script string, env ...string) (string, int) {
	t.Helper()
	o := b.firma(t, env, "run", "--authority", "local", "--quiet", "--", "sh", "-c", script)
	return o.Stdout + o.Stderr, o.Code
}

// TestPolicyDenies: what a policy adds is refused inside, and what it does not
// add still works.
func TestPolicyDenies(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		env := policyVar + b.policy(t, `"filesystem.delete", "credential.write"`)
		out, _ := b.sh(t, `cd /tmp; touch a && echo MADE; rm a && echo DELETED; mv a b && echo MOVED
			python3 -c 'import os; os.setresuid(os.getuid(), os.getuid(), os.getuid())' 2>&1 | grep -c PermissionError`, env)
		if !strings.Contains(out, "MADE") || strings.Contains(out, "DELETED") || strings.Contains(out, "MOVED") || !strings.Contains(out, "\n1\n") {
			t.Errorf("with the policy: %s", out)
		}
		out, code := b.sh(t, `cd /tmp; touch a && rm a && echo DELETED`)
		if code != 0 || !strings.Contains(out, "DELETED") {
			t.Errorf("without it: %s", out)
		}
	})
}

func TestPolicyThatIsRefused(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		for actions, reason := range map[string]string{
			`"system.execute"`: "policy.toml:4:17: system.execute would refuse execve",
			`"system.install"`: "policy.toml:4:17: there is no action",
		} {
			b.wantRefusal(t, b.launch(t, policyVar+b.policy(t, actions)), "SeccompPolicyInvalid", reason)
		}
		path := b.policy(t, "")
		must(t, os.Chmod(path, 0o666))
		b.wantRefusal(t, b.launch(t, policyVar+path), "SeccompPolicyInvalid", "lets everybody write")
		b.wantRefusal(t, b.launch(t, policyVar+"policy.toml"), "ConfigValidation", "absolute")
		b.wantRefusal(t, b.launch(t, policyVar+b.Home+"/none.toml"), "SeccompPolicyInvalid", "does not exist")
	})
}

func TestPolicyThatChanges(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		env := policyVar + b.policy(t, `"credential.write"`)
		if out, code := b.sh(t, "true", env); code != 0 {
			t.Fatal(out)
		}
		audit := filepath.Join(b.State, "firma", "audit")
		must(t, os.RemoveAll(audit)) // so that wantRefusal can tell that no run was recorded
		b.policy(t, "")
		b.wantRefusal(t, b.launch(t, env), "SeccompArtifactStale", "the policy source has changed")
		if o := b.firma(t, []string{env}, "seccomp", "compile"); o.Code != 0 {
			t.Fatalf("%+v", o)
		}
		if out, code := b.sh(t, "true", env); code != 0 {
			t.Error(out)
		}
	})
}

func TestModes(t *testing.T) {
	everyone(t, func(t *testing.T, b *bench) {
		const mode = "FIRMA_RUN_MANAGED_SECCOMP_RUNTIME_MODE="
		must(t, os.RemoveAll(b.leaf))
		b.wantRefusal(t, b.launch(t, mode+"precompiled_only"), "SeccompArtifactMissing", "there is no compiled filter for policy generic-local-command")
		b.wantRefusal(t, b.launch(t, mode+"never"), "ConfigValidation", "no seccomp runtime mode never")
		b.wantRefusal(t, b.launch(t, "FIRMA_RUN_MANAGED_SECCOMP_DISABLE_DEFAULT=true"), "SeccompNotOptional", "its base can't be turned off")
		if o := b.launch(t, mode+"compile_on_launch"); !strings.Contains(o.Stdout, "EXECUTED") {
			t.Errorf("%+v", o)
		}
		if o := b.launch(t, mode+"precompiled_only"); !strings.Contains(o.Stdout, "EXECUTED") {
			t.Errorf("%+v", o)
		}
	})
}

// TestRealClients: what the shipped policy and the base leave alone. GNU make
// calls setresuid(2) with its own ids, which is why the shipped policy does not
// deny credential.write.
func TestRealClients(t *testing.T) {
	for client, script := range map[string]string{
		"git":     "cd /tmp && git init -q r && cd r && git config user.email a@b && git config user.name a && echo x > f && git add f && git commit -qm x && git clone -q . ../c",
		"make":    "cd /tmp && printf 'all:\\n\\t@echo built\\n' > Makefile && make | grep -q built",
		"node":    `node -e 'require("child_process").execSync("true", {uid: process.getuid(), gid: process.getgid()})'`,
		"npm":     `mkdir -p /tmp/p /tmp/q && cd /tmp && echo '{"name":"p","version":"1.0.0","scripts":{"x":"node -e 1"}}' > p/package.json && echo '{"name":"q","version":"1.0.0"}' > q/package.json && npm --prefix q install ./p --offline --no-audit --no-fund && npm --prefix p run x`,
		"python3": `python3 -c 'import os, subprocess; os.seteuid(os.getuid()); subprocess.run(["true"], check=True, user=os.getuid())'`,
		"gcc":     "cd /tmp && echo 'int main(){return 0;}' > m.c && gcc m.c -o m && ./m",
	} {
		t.Run(client, func(t *testing.T) {
			if _, err := exec.LookPath(client); err != nil {
				t.Fatalf("this test needs %s: `make deps-test` installs it", client)
			}
			everyone(t, func(t *testing.T, b *bench) {
				if out, code := b.sh(t, script); code != 0 {
					t.Errorf("status %d: %s", code, out)
				}
			})
		})
	}
}
