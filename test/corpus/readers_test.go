package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// A reading is what a parser makes of a stream: "METHOD HOST TARGET BODY" for each
// complete request, "rest" when something follows that is none.
type reading []string

// reader is a parser that firma does not use. It reads many streams at once.
type reader struct {
	name string
	read func(t *testing.T, streams []string) []reading
	// bodiless says that its readings lack the bodies.
	bodiless bool
}

var readers = []reader{
	{name: "net/http", read: readNetHTTP},
	{name: "node", read: func(t *testing.T, s []string) []reading { return script(t, s, "node", "-e", nodeReader) }},
	{name: "h11", read: func(t *testing.T, s []string) []reading { return script(t, s, "/usr/bin/python3", "-c", h11Reader) }},
	{name: "nginx", read: readNginx, bodiless: true},
}

func readNetHTTP(_ *testing.T, streams []string) []reading {
	out := make([]reading, len(streams))
	for i, s := range streams {
		for r := bufio.NewReader(strings.NewReader(s)); ; {
			req, err := http.ReadRequest(r)
			if err == io.EOF {
				break
			}
			var body []byte
			if err == nil {
				body, err = io.ReadAll(req.Body)
			}
			if err != nil {
				out[i] = append(out[i], "rest")
				break
			}
			out[i] = append(out[i], fmt.Sprintf("%s %s %s %s", req.Method, req.Host, req.RequestURI, body))
		}
	}
	return out
}

// script runs a parser in another language: streams in as JSON, readings out.
func script(t *testing.T, streams []string, name string, args ...string) []reading {
	t.Helper()
	latin := make([]string, len(streams)) // JSON has characters, not bytes
	for i, s := range streams {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.WriteRune(rune(c))
		}
		latin[i] = b.String()
	}
	in, err := json.Marshal(latin)
	must(t, err)
	cmd := exec.Command(name, args...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &errs
	data, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v (make deps installs it)\n%s", name, err, &errs)
	}
	var out []reading
	must(t, json.Unmarshal(data, &out))
	if len(out) != len(streams) {
		t.Fatal(errors.New(name + " did not read all streams"))
	}
	return out
}

const nodeReader = `
const http = require('http'), { Duplex } = require('stream');
const streams = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const one = s => new Promise(done => {
  const out = []; let open = 0, over = false;
  const finish = rest => { if (!over) { over = true; if (rest) out.push('rest'); done(out); } };
  const sock = new Duplex({ read() {}, write(c, e, cb) { cb(); } });
  sock.setTimeout = sock.setNoDelay = sock.setKeepAlive = sock.ref = sock.unref = () => sock;
  const handle = (req, res) => {
    const body = []; open++;
    req.on('data', c => body.push(c));
    req.on('end', () => {
      out.push([req.method, req.headers.host, req.url, Buffer.concat(body).toString('latin1')].join(' '));
      open--; res.end('ok');
    });
  };
  const server = http.createServer({ maxHeaderSize: 1 << 20 }, handle);
  server.maxHeadersCount = 0;
  server.on('checkContinue', handle);
  server.on('upgrade', (req, _, head) => { out.push([req.method, req.headers.host, req.url, ''].join(' ')); finish(head.length > 0); });
  server.on('clientError', () => finish(true));
  server.emit('connection', sock);
  sock.push(Buffer.from(s, 'latin1'));
  setImmediate(() => { sock.push(null); setTimeout(() => finish(open > 0), 20); });
});
Promise.all(streams.map(one)).then(r => { require('fs').writeFileSync(1, JSON.stringify(r)); process.exit(0); });
`

const h11Reader = `
import sys, json, h11
out = []
for s in json.load(sys.stdin):
    c = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    got, req, body = [], None, b''
    c.receive_data(s.encode('latin-1')); c.receive_data(b'')
    try:
        while True:
            e = c.next_event()
            if isinstance(e, h11.Request):
                req, body = e, b''
            elif isinstance(e, h11.Data):
                body += bytes(e.data)
            elif isinstance(e, h11.EndOfMessage):
                host = [v for k, v in req.headers if k == b'host']
                got.append(b' '.join([req.method, host[0] if len(host) == 1 else b'%d hosts' % len(host), req.target, body]).decode('latin-1'))
                if c.their_state is h11.MUST_CLOSE or c.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                    if c.trailing_data[0]: got.append('rest')
                    break
                c.send(h11.Response(status_code=200, headers=[('content-length', '0')])); c.send(h11.EndOfMessage())
                c.start_next_cycle()
            elif e is h11.PAUSED:
                got += ['rest'] if c.trailing_data[0] else []
                break
            else:
                break
    except h11.ProtocolError as x:
        got.append('rest')
    out.append(got)
print(json.dumps(out))
`
