package escape

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// posture is what the probe says of the process it is: see its Posture.
type posture struct {
	UID, GID, EUID, EGID int
	Groups               []int
	PID                  int
	Capabilities         map[string]string
	NoNewPrivs, Seccomp  string
	Namespaces           map[string]string
	Mounts               []struct{ Target, Type, Source, Options, Super string }
	Env                  map[string]string
	Descriptors          []struct {
		Number int
		Link   string
		Flags  int
	}
	Interfaces map[string][]string
	Processes  map[string]string
	Directory  string
	Hostname   string
	Root       []string
	Devices    []string
	Run        map[string]string
}

// expectedPosture is everything an agent of the generic profile has. What is not
// in it must not be there: an extra right fails like a missing one. Values that
// differ from run to run are compared by their kind.
func expectedPosture(y *yard) map[string]any {
	proxyURL := "http://" + proxy
	none := "0000000000000000"
	return map[string]any{
		"identity":              []int{1000, 1000, 1000, 1000},
		"groups":                []int{},
		"capabilities":          map[string]string{"Inh": none, "Prm": none, "Eff": none, "Bnd": none, "Amb": none},
		"no_new_privs":          "1",
		"seccomp":               "2",
		"namespaces of its own": []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"},
		"descriptors":           []string{"0 pipe reads", "1 pipe writes", "2 pipe writes"},
		"interfaces":            map[string][]string{"lo": {"127.0.0.1/8", "::1/128"}},
		"processes":             []string{"1 bwrap"},
		"directory":             y.Project,
		"hostname":              "firma",
		"root":                  []string{"bin", "dev", "etc", "home", "lib", "lib64", "proc", "run", "sbin", "tmp", "usr", "var"},
		"devices":               []string{"core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"},
		"unexpected mounts":     []string(nil),
		"run":                   map[string]string{"firma/ca.crt": "1 CERTIFICATE", "firma/ca-bundle.crt": "at /etc/ssl/certs/ca-certificates.crt: more CERTIFICATE"},
		"env": withTrust(map[string]string{
			"ALL_PROXY": proxyURL, "HTTP_PROXY": proxyURL, "HTTPS_PROXY": proxyURL,
			"all_proxy": proxyURL, "http_proxy": proxyURL, "https_proxy": proxyURL,
			"NO_PROXY": "localhost,127.0.0.1,::1", "no_proxy": "localhost,127.0.0.1,::1", "NODE_USE_ENV_PROXY": "1",
			"HOME": "/home/agent", "USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh", "PWD": y.Project,
			"LANG": "C.UTF-8", "TERM": "xterm", "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/sbin",
			"FIRMA_RUN_PROFILE": "generic", "FIRMA_AGENT_ID": "an id", "FIRMA_RUN_SANDBOX_ID": "an id", "FIRMA_RUN_SESSION_ID": "an id",
		}),
	}
}

// withTrust adds the variables by which runtimes find the authority's certificate
// (docs/trust.md): alone, and among the host's roots.
func withTrust(env map[string]string) map[string]string {
	for _, name := range []string{"FIRMA_SIDECAR_CA_CERT_PATH", "NODE_EXTRA_CA_CERTS", "DENO_CERT"} {
		env[name] = "/run/firma/ca.crt"
	}
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO",
		"AWS_CA_BUNDLE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "NIX_SSL_CERT_FILE", "npm_config_cafile",
		"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HTTPLIB2_CA_CERTS"} {
		env[name] = "/run/firma/ca-bundle.crt"
	}
	env["DENO_TLS_CA_STORE"] = "system,mozilla"
	return env
}

// mountRule says how the mounts that match it must be. The first match counts;
// a mount without a rule is unexpected.
type mountRule struct{ pattern, kind, access string }

func mountRules(y *yard) []mountRule {
	return []mountRule{
		{"/", "tmpfs", "ro"},
		// Made for the run: the host's roots with the authority's certificate, and the
		// proxy in the settings of JDKs.
		{"/etc/ssl/certs/ca-certificates.crt", "tmpfs", "ro"}, {"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "tmpfs", "ro"},
		{"/etc/ssl/certs/java/cacerts", "tmpfs", "ro"}, {"/etc/pki/ca-trust/extracted/java/cacerts", "tmpfs", "ro"},
		{"/usr/lib/jvm/*/lib/security/cacerts", "tmpfs", "ro"},
		{"/usr/lib/jvm/*/conf/net.properties", "tmpfs", "ro"}, {"/etc/java-*/net.properties", "tmpfs", "ro"},
		{"/usr", "", "ro"}, {"/bin", "", "ro"}, {"/sbin", "", "ro"}, {"/lib*", "", "ro"},
		{"/etc/*", "", "ro"}, {"/etc/*/*", "", "ro"}, {"/etc/*/*/*", "", "ro"},
		{"/tmp", "tmpfs", "rw"}, {"/var/tmp", "tmpfs", "rw"}, {"/run", "tmpfs", "rw"}, {"/home/agent", "tmpfs", "rw"},
		{y.Project, "", "ro"}, {y.probe, "", "ro"},
		{"/proc", "proc", "rw"}, {"/proc/*", "", "ro"},
		{"/dev", "tmpfs", "rw"}, {"/dev/pts", "devpts", "rw"}, {"/dev/shm", "tmpfs", "rw"},
		{"/dev/null", "", "rw"}, {"/dev/zero", "", "rw"}, {"/dev/full", "", "rw"}, {"/dev/random", "", "rw"},
		{"/dev/urandom", "", "rw"}, {"/dev/tty", "", "rw"}, {"/dev/console", "devpts", "rw"},
	}
}

// TestPosture starts the real sandbox and compares every right the process in it
// holds with the whole expected set. The control is the same program outside,
// which must differ.
func TestPosture(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			outside := y.posture(t, "none")
			inside := y.posture(t, *wall)
			want := expectedPosture(y)
			if cmp.Equal(want, summary(y, outside, outside)) {
				t.Error("INVALID     outside is as expected inside: the test sees nothing")
			}
			got := summary(y, inside, outside)
			if !slices.Contains(inside.Root, "lib64") {
				want["root"] = slices.DeleteFunc(want["root"].([]string), func(s string) bool { return s == "lib64" })
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("posture (-expected +inside):\n%s", diff)
			}
			seesMore(t, y, want, inside, outside)
			for name, value := range inside.Env {
				if strings.Contains(value, y.canary) {
					t.Errorf("ESCAPED     %s holds a secret", name)
				}
			}
		})
	}
}

// seesMore is the test's own control: each right more must make a difference.
func seesMore(t *testing.T, y *yard, want map[string]any, inside, outside posture) {
	t.Helper()
	type mounted = struct{ Target, Type, Source, Options, Super string }
	mounts := func(m mounted) func(*posture) {
		return func(p *posture) { p.Mounts = append(slices.Clone(p.Mounts), m) }
	}
	const ro = "ro,nosuid,nodev,relatime"
	for what, add := range map[string]func(*posture){
		"a key beside the certificate":  func(p *posture) { p.Run = with(p.Run, "firma/ca.key", "1 PRIVATE KEY") },
		"a key in the certificate":      func(p *posture) { p.Run = with(p.Run, "firma/ca.crt", "1 CERTIFICATE, 1 PRIVATE KEY") },
		"a variable":                    func(p *posture) { p.Env = with(p.Env, "FIRMA_CA_KEY", "x") },
		"a file of the host as roots":   mounts(mounted{"/etc/ssl/certs/java/cacerts", "ext4", "/dev/vda", ro, ""}),
		"a writable file of settings":   mounts(mounted{"/usr/lib/jvm/x/conf/net.properties", "tmpfs", "tmpfs", "rw,nosuid,nodev", ""}),
		"another file of a JDK":         mounts(mounted{"/usr/lib/jvm/x/conf/security", "tmpfs", "tmpfs", ro, ""}),
		"something of the host in /run": mounts(mounted{"/run/user", "tmpfs", "tmpfs", ro, ""}),
		"an address": func(p *posture) {
			p.Interfaces = map[string][]string{"lo": {"127.0.0.1/8", "198.18.0.1/15", "::1/128"}}
		},
	} {
		more := inside
		add(&more)
		if cmp.Equal(want, summary(y, more, outside)) {
			t.Errorf("INVALID     %s makes no difference", what)
		}
	}
}

func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	m[key] = value
	return m
}

func (y *yard) posture(t *testing.T, behind string) posture {
	t.Helper()
	c := y.command(kase{env: poison}, y.probe, "posture")
	if behind == "none" {
		c.Args = []string{y.probe, "posture"}
	}
	o := y.World.Run(t, c)
	var p posture
	if err := json.Unmarshal([]byte(o.Stdout), &p); err != nil {
		t.Fatalf("%v: exit status %d\n%s%s", err, o.Code, o.Stdout, o.Stderr)
	}
	return p
}

func summary(y *yard, p, outside posture) map[string]any {
	env := maps.Clone(p.Env)
	for _, id := range []string{"FIRMA_AGENT_ID", "FIRMA_RUN_SANDBOX_ID", "FIRMA_RUN_SESSION_ID"} {
		if env[id] != "" {
			env[id] = "an id"
		}
	}
	return map[string]any{
		"identity": []int{p.UID, p.GID, p.EUID, p.EGID}, "groups": groups(p), "capabilities": p.Capabilities,
		"no_new_privs": p.NoNewPrivs, "seccomp": p.Seccomp, "namespaces of its own": ownNamespaces(p, outside),
		"descriptors": descriptors(p), "interfaces": p.Interfaces, "processes": visible(y, p),
		"directory": p.Directory, "hostname": p.Hostname, "root": p.Root, "devices": p.Devices,
		"unexpected mounts": unexpected(y, p), "env": env, "run": p.Run,
	}
}

// groups leaves out what an ordinary user can't give up in a user namespace: the
// own group, and others, which have no name inside (65534).
func groups(p posture) []int {
	return slices.DeleteFunc(append([]int{}, p.Groups...), func(g int) bool { return g == p.GID || g == 65534 })
}

func ownNamespaces(p, outside posture) []string {
	var own []string
	for kind, id := range p.Namespaces {
		if id != "" && id != outside.Namespaces[kind] {
			own = append(own, kind)
		}
	}
	slices.Sort(own)
	return own
}

func descriptors(p posture) []string {
	var all []string
	for _, d := range p.Descriptors {
		kind, _, _ := strings.Cut(d.Link, ":")
		access := []string{"reads", "writes", "reads and writes"}[d.Flags&3]
		all = append(all, itoa(d.Number)+" "+kind+" "+access)
	}
	return all
}

// visible are the processes that procfs shows, by program. Their arguments must
// not tell where firma keeps things.
func visible(y *yard, p posture) []string {
	var all []string
	for pid, args := range p.Processes {
		program, _, _ := strings.Cut(args, " ")
		line := pid + " " + path.Base(program)
		if strings.Contains(strings.ReplaceAll(args, y.probe, ""), y.Base) {
			line += " telling " + args
		}
		all = append(all, line)
	}
	slices.Sort(all)
	return all
}

func unexpected(y *yard, p posture) []string {
	rules := mountRules(y)
	var all []string
	for _, m := range p.Mounts {
		i := slices.IndexFunc(rules, func(r mountRule) bool { ok, _ := path.Match(r.pattern, m.Target); return ok })
		options := strings.Split(m.Options, ",")
		device := strings.HasPrefix(m.Target, "/dev/")
		switch {
		case i < 0:
			all = append(all, m.Target+": nothing of this name is expected")
		case rules[i].kind != "" && rules[i].kind != m.Type:
			all = append(all, m.Target+": is "+m.Type)
		case rules[i].access == "ro" && !slices.Contains(options, "ro"):
			all = append(all, m.Target+": is writable")
		case !slices.Contains(options, "nosuid"):
			all = append(all, m.Target+": honours set-user-id")
		case !device && !slices.Contains(options, "nodev"):
			all = append(all, m.Target+": honours device nodes")
		}
	}
	return all
}

// TestInheritedDescriptors passes a secret on a descriptor that nobody asked for.
func TestInheritedDescriptors(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			secret, err := os.Open(y.home("canary.txt"))
			must(t, err)
			defer secret.Close()
			c := y.command(kase{}, y.probe, "fds")
			c.Files = []*os.File{secret}
			control := c
			control.Args = []string{y.probe, "fds"}
			if o := y.World.Run(t, control); !strings.Contains(o.Stdout, "succeeded") {
				t.Errorf("INVALID     outside it is not seen: %s", o.Stdout)
			}
			if o := y.World.Run(t, c); !strings.Contains(o.Stdout, "refused") {
				t.Errorf("ESCAPED     %s%s", o.Stdout, o.Stderr)
			}
		})
	}
}

// TestStandardStreamsAreNotTheFiles redirects the streams to files of the host,
// which the agent may read or append to, and no more: opening them again through
// procfs must not give more access than the descriptor had.
func TestStandardStreamsAreNotTheFiles(t *testing.T) {
	for _, a := range accounts(t) {
		t.Run(a.Name, func(t *testing.T) {
			y := newYard(t, a)
			for stream, flags := range map[string]int{"0": os.O_RDONLY, "1": os.O_WRONLY | os.O_APPEND, "2": os.O_WRONLY | os.O_APPEND} {
				if after := y.reopened(t, stream, flags, "none"); strings.HasPrefix(after, "precious\n") {
					t.Errorf("INVALID     outside, stream %s is not overwritten: %q", stream, after)
				}
				if after := y.reopened(t, stream, flags, *wall); !strings.HasPrefix(after, "precious\n") {
					t.Errorf("ESCAPED     the file behind stream %s now holds %q", stream, after)
				}
			}
		})
	}
}

// reopened runs the try with one stream on a file that holds "precious", and
// returns what the file holds then.
func (y *yard) reopened(t *testing.T, stream string, flags int, behind string) string {
	t.Helper()
	name := y.home("stream")
	must(t, os.WriteFile(name, []byte("precious\n"), 0o600))
	must(t, y.Account.Own(name))
	file, err := os.OpenFile(name, flags, 0)
	must(t, err)
	defer file.Close()
	c := y.command(kase{}, y.probe, "reopen", stream, "overwritten")
	if behind == "none" {
		c.Args = []string{y.probe, "reopen", stream, "overwritten"}
	}
	cmd := y.Prepare(t.Context(), c)
	switch stream {
	case "0":
		cmd.Stdin = file
	case "1":
		cmd.Stdout = file
	case "2":
		cmd.Stderr = file
	}
	must(t, cmd.Run())
	after, err := os.ReadFile(name)
	must(t, err)
	return string(after)
}
