package corpus

import (
	"encoding/base64"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/account"
	"firma/internal/testkit/world"
)

// relay is a program inside a sandbox that connects by itself and knows of no
// proxy: it opens, writes, ends and closes one connection at a time as it is told,
// and says what it reads.
const relay = `
import sys, socket, threading, base64
def pump(c):
    try:
        while True:
            d = c.recv(65536)
            if not d: break
            print('D ' + base64.b64encode(d).decode(), flush=True)
    except OSError: pass
    print('E', flush=True)
print('R', flush=True)
for line in sys.stdin:
    op, _, arg = line.strip().partition(' ')
    try:
        if op == 'O':
            host, port = arg.split()
            c = socket.create_connection((host, int(port)), 10)
            c.settimeout(None)
            t = threading.Thread(target=pump, args=(c,))
            t.start()
        elif op == 'W': c.sendall(base64.b64decode(arg))
        elif op == 'S': c.shutdown(socket.SHUT_WR)
        elif op == 'C':
            try: c.shutdown(socket.SHUT_RDWR)
            except OSError: pass
            t.join(); c.close(); print('C', flush=True)
    except OSError as e:
        if op == 'O': print('X ' + str(e), flush=True)
`

// inSandbox starts a run whose command is the relay, with a Sidecar of its own.
func inSandbox(t *testing.T) (*bench, *world.Running) {
	t.Helper()
	all, err := account.All()
	must(t, err)
	b := &bench{World: world.New(t, all[0]), t: t, origin: newOrigin(t)}
	b.write("rules.toml", rules())
	config := "[sidecar.mapping]\nrules_path = \"rules.toml\"\n[sidecar.interceptor]\nhead_timeout = \"1s\"\n[sidecar.interceptor.https_mitm]\nintercept_hosts = [\"*\"]\n[sidecar.egress.hosts]\n"
	for _, h := range hosts {
		config += fmt.Sprintf("%q = %q\n", h, b.origin.addr())
	}
	b.write("run.toml", config)
	r := b.Start(t, world.Command{Args: []string{b.Firma, "run", "--authority", "local", "--config", filepath.Join(b.Base, "run.toml"), "--", "/usr/bin/python3", "-c", relay}})
	if line, ok := r.Line(); !ok || line != "R" {
		t.Fatalf("the run did not start: %q\n%s", line, r.Stderr())
	}
	logs := b.Logs(t)
	if len(logs) != 1 {
		t.Fatalf("audit logs: %q", logs)
	}
	b.log = logs[0]
	return b, r
}

// inner is a connection of the relay.
type inner struct {
	r     *world.Running
	ahead []byte
	ended bool
}

func (c *inner) Write(p []byte) (int, error) {
	c.r.Send("W " + base64.StdEncoding.EncodeToString(p))
	return len(p), nil
}

func (c *inner) CloseWrite() error {
	c.r.Send("S")
	return nil
}

func (c *inner) Read(p []byte) (int, error) {
	for len(c.ahead) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		line, ok := c.r.Line()
		if text, data := strings.CutPrefix(line, "D "); data {
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return 0, err
			}
			c.ahead = b
			continue
		}
		if !ok || strings.HasPrefix(line, "X ") {
			return 0, fmt.Errorf("the relay: %q", line)
		}
		c.ended = true
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

func (c *inner) Close() error {
	c.r.Send("C")
	for {
		if line, ok := c.r.Line(); !ok || line == "C" {
			return nil
		}
	}
}

// TestCaptured sends every entry from a client inside a sandbox that connects by
// itself. A stream that is not even like HTTP is refused as a tunnel there, without
// an HTTP answer.
func TestCaptured(t *testing.T) {
	b, r := inSandbox(t)
	var outcomes []outcome
	total := 0
	for _, c := range classes {
		for _, e := range c.entries() {
			if e.only != "" {
				continue
			}
			total++
			t.Run(c.name+"/"+e.name, func(t *testing.T) {
				e = fill(e, captured)
				r.Send("O a.test 80")
				outcomes = append(outcomes, b.run(t, &inner{r: r}, e))
			})
		}
	}
	t.Logf("in total: %d", total)
	compare(t, outcomes)
	r.CloseInput()
	if o := r.Wait(t); o.Code != 0 {
		t.Errorf("the run ended with %d\n%s", o.Code, o.Stderr)
	}
}
