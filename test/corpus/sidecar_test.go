package corpus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

// patience is how long anything may take that a test waits for.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	world.OwnSignals()
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rules: all hosts may be asked for anything but /admin, which the capability does
// not cover; tunnel.test is for tunnels only.
func rules() string {
	text := "version = 2\n[[rules]]\nmethod = \"CONNECT\"\nhost = \"tunnel.test\"\naction_class = \"code.read\"\n" +
		"[[rules]]\nmethod = \"CONNECT\"\nhost = \"tunnel.test:8443\"\naction_class = \"code.read\"\n"
	for _, h := range hosts {
		if h == "tunnel.test" {
			continue
		}
		if strings.Contains(h, ":") {
			h = "[" + h + "]"
		}
		text += fmt.Sprintf("[[rules]]\nhost = %q\npath = \"/**\"\naction_class = \"code.read\"\n"+
			"[[rules]]\nhost = %q\npath = \"/admin/**\"\naction_class = \"repo.admin\"\n"+
			"[[rules]]\nhost = %q\npath = \"/**\"\naction_class = \"code.read\"\n", h, h, h+":8080")
	}
	return text
}

// bench is a running Sidecar with the origin behind it.
type bench struct {
	*world.World
	t      *testing.T
	origin *rawOrigin
	addr   string // of the proxy
	state  string
	log    string // audit file
	read   int64  // of it
}

// hosts all lead to the origin.
var hosts = []string{"a.test", "b.test", "xn--bcher-kva.test", "h2.test", "tunnel.test", "9.9.9.9", "2001:db8::1", "longest.a.test"}

// start runs a Sidecar for this account until the test ends.
func start(t *testing.T) *bench {
	t.Helper()
	all, err := account.All()
	must(t, err)
	b := &bench{World: world.New(t, all[0]), t: t, origin: newOrigin(t)}
	b.state = filepath.Join(b.Base, "sidecar")
	must(t, os.Mkdir(b.state, 0o700))
	b.write("rules.toml", rules())
	b.write("authority.toml", "[authority]\nlisten_addr = \"127.0.0.1:0\"\n")
	b.write("ca.pem", b.origin.pem)
	b.firma("authority", "-c", b.Base+"/authority.toml", "generate-key")
	b.firma("authority", "-c", b.Base+"/authority.toml", "issue", "--agent-id", "local-dev", "--session-id", "s-1",
		"--action", "code.read", "--output", b.Base+"/seed.toml")
	config := `[sidecar.interceptor]
listen_addr = "127.0.0.1:0"
head_timeout = "1s"
[sidecar.interceptor.https_mitm]
intercept_hosts = ["*"]
bypass_hosts = ["tunnel.test"]
[sidecar.mapping]
rules_path = "rules.toml"
[sidecar.authority]
public_key_path = "firma-authority.pub"
[sidecar.capability_seed]
paths = ["seed.toml"]
[sidecar.audit]
file_path = "audit.jsonl"
[sidecar.egress]
ca_cert_path = "ca.pem"
[sidecar.egress.hosts]
`
	for _, h := range hosts {
		config += fmt.Sprintf("%q = %q\n", h, b.origin.addr())
	}
	b.write("side.toml", config)
	b.serve()
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	must(b.t, os.WriteFile(filepath.Join(b.Base, name), []byte(text), 0o600))
}

func (b *bench) command(args ...string) world.Command {
	return world.Command{Args: append([]string{b.Firma}, args...), Env: []string{"FIRMA_STATE_DIR=" + b.state}}
}

func (b *bench) firma(args ...string) {
	b.t.Helper()
	if o := b.Run(b.t, b.command(args...)); o.Code != 0 {
		b.t.Fatalf("firma %q: %s%s", args, o.Stdout, o.Stderr)
	}
}

var listening = regexp.MustCompile(`msg="interceptor listening".* addr=(\S+)`)

func (b *bench) serve() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := b.Prepare(ctx, b.command("sidecar", "-c", b.Base+"/side.toml", "--health-bind-addr", "127.0.0.1:0"))
	out, err := cmd.StderrPipe()
	must(b.t, err)
	must(b.t, cmd.Start())
	b.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		end := time.AfterFunc(patience, cancel)
		defer end.Stop()
		defer cancel()
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) {
			b.t.Errorf("the Sidecar ended with %v", err)
		}
	})
	var said strings.Builder
	for lines := bufio.NewScanner(io.TeeReader(out, &said)); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			b.addr = m[1]
		}
		if strings.Contains(lines.Text(), "msg=ready") {
			go drain(b.t, out)
			b.findLog()
			return
		}
	}
	b.t.Fatalf("the Sidecar did not start:\n%s", &said)
}

// drain fails the test when the Sidecar complains of itself.
func drain(t *testing.T, out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "panic") {
			t.Errorf("the Sidecar says %s", lines.Text())
		}
	}
}

func (b *bench) findLog() {
	b.t.Helper()
	found, err := filepath.Glob(b.Base + "/audit-*.jsonl")
	must(b.t, err)
	if len(found) != 1 {
		b.t.Fatalf("audit logs: %q", found)
	}
	b.log = found[0]
	b.events()
}

// dial connects to the proxy.
func (b *bench) dial() net.Conn {
	b.t.Helper()
	nc, err := net.Dial("tcp", b.addr)
	must(b.t, err)
	must(b.t, nc.SetDeadline(time.Now().Add(patience)))
	return nc
}
