package artifact

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
	"firma/internal/sandbox/seccomp"
)

const valid = `policy_id = "team/base"
policy_version = "2024.1"
default_action = "allow"
deny_actions = ["credential.write", "filesystem.delete"]
source_policy_refs = ["https://example.com/policy", "SEC-12"]
`

func TestPolicy(t *testing.T) {
	p, err := ParsePolicy("p.toml", []byte(valid))
	must(t, err)
	if p.ID != "team/base" || p.Version != "2024.1" || p.SHA256 != checksum([]byte(valid)) {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff([]string{"https://example.com/policy", "SEC-12"}, p.SourceRefs); diff != "" {
		t.Error(diff)
	}
	// The order of the source does not matter.
	if diff := cmp.Diff([]string{"filesystem.delete", "credential.write"}, p.DenyActions); diff != "" {
		t.Error(diff)
	}
	denied := strings.Join(p.Denied(), " ")
	if !strings.HasSuffix(denied, "renameat2 setuid setgid setresuid setresgid") {
		t.Errorf("denied: %s", denied)
	}
}

func TestShippedPolicy(t *testing.T) {
	p, err := ParsePolicy(shippedName, []byte(Shipped))
	must(t, err)
	if want := fmt.Sprint("1.", seccomp.Version); p.ID != "generic-local-command" || p.Version != want {
		t.Errorf("%s %s: the second number of the version is the base filter's, %s", p.ID, p.Version, want)
	}
}

func TestPolicyIsRefused(t *testing.T) {
	edit := func(old, now string) string {
		if !strings.Contains(valid, old) {
			t.Fatalf("%q is not in the policy", old)
		}
		return strings.Replace(valid, old, now, 1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":          {valid + "severity = 1\n", `p.toml:6:1: unknown key "severity"`},
		"dotted key":           {valid + "a.b = 1\n", `p.toml:6:1: unknown key "a.b"`},
		"table":                {valid + "[more]\n", "p.toml:6:2: a policy has no tables"},
		"key twice":            {valid + "policy_id = \"x\"\n", "p.toml:6:1: policy_id is set twice"},
		"no id":                {edit(`policy_id = "team/base"`, ""), "policy_id is missing"},
		"no version":           {edit(`policy_version = "2024.1"`, ""), "policy_version is missing"},
		"no default":           {edit(`default_action = "allow"`, ""), "default_action is missing"},
		"no actions":           {edit(`deny_actions = ["credential.write", "filesystem.delete"]`, ""), "deny_actions is missing"},
		"no references":        {edit(`source_policy_refs = ["https://example.com/policy", "SEC-12"]`, ""), "source_policy_refs is missing"},
		"empty references":     {edit(`["https://example.com/policy", "SEC-12"]`, "[]"), "p.toml:5:1: source_policy_refs must name at least one"},
		"empty id":             {edit(`"team/base"`, `""`), "p.toml:1:1: policy_id must be a text"},
		"id a number":          {edit(`"team/base"`, `7`), "p.toml:1:1: policy_id"},
		"id with a newline":    {edit(`"team/base"`, `"a\nb"`), "p.toml:1:1: policy_id must be at most"},
		"long version":         {edit(`"2024.1"`, `"`+strings.Repeat("1", maxName+1)+`"`), "p.toml:2:1: policy_version"},
		"default deny":         {edit(`"allow"`, `"deny"`), `p.toml:3:1: default_action must be "allow"`},
		"actions a text":       {edit(`["credential.write", "filesystem.delete"]`, `"credential.write"`), "p.toml:4:1: deny_actions must be a list"},
		"action a number":      {edit(`"filesystem.delete"`, `1`), "p.toml:4:1: deny_actions must hold nothing but texts"},
		"action twice":         {edit(`"filesystem.delete"`, `"credential.write"`), "p.toml:4:37: credential.write is there twice"},
		"unknown action":       {edit(`"filesystem.delete"`, `"system.install"`), `p.toml:4:37: there is no action "system.install"`},
		"execution":            {edit(`"filesystem.delete"`, `"system.execute"`), "p.toml:4:37: system.execute would refuse execve and execveat, and with them the start of the agent itself"},
		"not TOML":             {edit(`"team/base"`, `"`), "p.toml:1:"},
		"not UTF-8":            {valid + "# \xff\n", "UTF-8"},
		"too long":             {valid + strings.Repeat("#\n", maxSource), "at most 65536 bytes"},
		"empty":                {"", "policy_id is missing"},
		"two mistakes at once": {edit(`"allow"`, `"deny"`) + "x = 1\n", "p.toml:6:1"},
	} {
		p, err := ParsePolicy("p.toml", []byte(c.text))
		var f *fault.Error
		if p != nil || !errors.As(err, &f) || f.Name != policyInvalid || !strings.Contains(f.Text, c.want) || f.Fix == "" {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(Shipped))
	f.Add([]byte("policy_id = [1, {a = 2}]\n[[x]]\n"))
	f.Add([]byte("policy_id = \"\"\"\nx\"\"\"\ndeny_actions = [ # c\n 'a', ]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePolicy("p", b)
		if (p == nil) == (err == nil) {
			t.Fatal("neither a policy nor an error, or both")
		}
		if p == nil {
			return
		}
		if p.ID == "" || p.Version == "" || len(p.SourceRefs) == 0 {
			t.Fatalf("%+v", p)
		}
		for _, s := range []string{segment(p.ID), segment(p.Version)} {
			if s == "" || strings.HasPrefix(s, ".") || strings.ContainsAny(s, "/\x00") {
				t.Fatalf("directory name %q", s)
			}
		}
	})
}

// FuzzParseMetadata: what is read is all that the file says: a reader that knows the
// keys only by their exact names finds no other, and written again it is the same.
func FuzzParseMetadata(f *testing.F) {
	p := plan(f, Options{}, "/s")
	good := p.expected(fixedTime).bytes()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"sha256"`), []byte(`"SHA256"`), 1))
	f.Add(bytes.Replace(good, []byte(`{`), []byte(`{"sha256": "x",`), 1))
	f.Add([]byte(`{"sha256":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMetadata(b)
		if (m == nil) == (err == nil) {
			t.Fatal("neither metadata nor an error, or both")
		}
		if err != nil {
			return
		}
		again, err := parseMetadata(m.bytes())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
		var raw map[string]any
		if err := json.Unmarshal(b, &raw); err != nil || len(raw) != len(names()) {
			t.Fatalf("%v, %v", raw, err)
		}
		for k, want := range map[string]string{"sha256": m.SHA256, "policy_id": m.PolicyID, "source_policy_sha256": m.SourcePolicySHA256} {
			if got, _ := raw[k].(string); got != want {
				t.Fatalf("%s is %q, read as %q", k, got, want)
			}
		}
	})
}

func TestSegments(t *testing.T) {
	for in, want := range map[string]string{
		"generic-local-command": "generic-local-command", "1.1": "1.1", "a/b": "a_b", "..": "_.", ".": "_", ".new-1": "_new-1",
		"ä b": "__b", "A_z9": "A_z9", "a\\b": "a_b",
	} {
		if got := segment(in); got != want {
			t.Errorf("segment(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestIdsThatShareADirectory: two ids with one directory name are told apart by
// the metadata.
func TestIdsThatShareADirectory(t *testing.T) {
	dir := t.TempDir()
	source := func(id string) string {
		path := filepath.Join(dir, strings.ReplaceAll(id, "/", "-")+".toml")
		must(t, os.WriteFile(path, []byte(strings.Replace(valid, "team/base", id, 1)), 0o600))
		return path
	}
	a := plan(t, Options{PolicyPath: source("a/b")}, dir)
	b := plan(t, Options{PolicyPath: source("a_b")}, dir)
	if _, err := a.Launch(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Launch(); fault.NameOf(err) != "SeccompArtifactTampered" || !strings.Contains(err.Error(), "policy_id") {
		t.Errorf("got %v", err)
	}
}

// TestChangedPolicy: a policy that is edited under the same version is refused
// until someone compiles it.
func TestChangedPolicy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.toml")
	must(t, os.WriteFile(path, []byte(valid), 0o600))
	if _, err := plan(t, Options{PolicyPath: path}, dir).Launch(); err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(valid, `"credential.write", `, "", 1)), 0o600))
	p := plan(t, Options{PolicyPath: path}, dir)
	_, err := p.Launch()
	var f *fault.Error
	if !errors.As(err, &f) || f.Name != "SeccompArtifactStale" || !strings.Contains(f.Fix, "firma seccomp compile --policy "+path) {
		t.Fatalf("got %v", err)
	}
	must(t, p.Compile())
	filter, err := p.Launch()
	must(t, err)
	if err := seccomp.Prove(filter, p.Policy.calls); err != nil {
		t.Error(err)
	}
}

func TestPolicySourceOfOthers(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, path string){
		"missing":                    func(t *testing.T, _, path string) { must(t, os.Remove(path)) },
		"a directory":                func(t *testing.T, _, path string) { must(t, errors.Join(os.Remove(path), os.Mkdir(path, 0o700))) },
		"writable for all":           func(t *testing.T, _, path string) { must(t, os.Chmod(path, 0o666)) },
		"in a directory for all":     func(t *testing.T, dir, _ string) { must(t, os.Chmod(dir, 0o777)) },
		"of another":                 func(t *testing.T, _, path string) { needRoot(t); must(t, os.Chown(path, another, another)) },
		"in another's own directory": func(t *testing.T, dir, _ string) { needRoot(t); must(t, os.Chown(dir, another, another)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "policy.toml")
			must(t, os.WriteFile(path, []byte(valid), 0o600))
			spoil(t, dir, path)
			if p, err := New(Options{PolicyPath: path}, t.TempDir()); p != nil || fault.NameOf(err) != policyInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	base := Options{PolicyPath: "/a", ArtifactDir: "/b", Mode: PrecompiledOnly}
	for _, c := range []struct {
		env   map[string]string
		want  Options
		fault string
	}{
		{nil, base, ""},
		{map[string]string{envPolicyPath: "/p", envArtifactDir: "/d", envMode: "compile_on_launch"}, Options{"/p", "/d", CompileOnLaunch}, ""},
		{map[string]string{envDisable: "0"}, base, ""},
		{map[string]string{envDisable: "No"}, base, ""},
		{map[string]string{envDisable: "1"}, base, "SeccompNotOptional"},
		{map[string]string{envDisable: "TRUE"}, base, "SeccompNotOptional"},
		{map[string]string{envDisable: "maybe"}, base, "SeccompNotOptional"},
		{map[string]string{envMode: "off"}, Options{}, "ConfigValidation"},
		{map[string]string{envPolicyPath: "p.toml"}, Options{}, "ConfigValidation"},
		{map[string]string{envArtifactDir: "d"}, Options{}, "ConfigValidation"},
		{map[string]string{envArtifactDir: "/../"}, Options{}, "ConfigValidation"},
	} {
		got, err := base.FromEnv(func(k string) string { return c.env[k] })
		if fault.NameOf(err) != c.fault || (c.fault == "" && got != c.want) {
			t.Errorf("%v: %+v, %v", c.env, got, err)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c": "/a/b-c", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "/$HOME": "'/$HOME'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s", in, got)
		}
	}
}
