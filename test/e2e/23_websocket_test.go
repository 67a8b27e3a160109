package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// talkers are WebSocket libraries that talk to the library ws through $1 and are refused
// at $2, and again with $3 and $4.
var talkers = []struct{ name, script, says string }{
	{"node-ws", `node talk.mjs ws $*`, "deflate true\nping mine\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
	{"undici", `node talk.mjs undici $*`, "deflate true\nserver's ping pong from the server\nclose 4001 as asked\ndenied\n"},
	{"python-websockets", `/usr/bin/python3 talk.py websockets $*`, "fragments in three frames\ndeflate True\nping\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
	{"websocket-client", `/usr/bin/python3 talk.py websocket $*`, "ping mine\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
	{"aiohttp", `/usr/bin/python3 talk.py aiohttp $*`, "deflate True\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
	{"java", `java -XX:TieredStopAtLevel=1 Talk.java $*`, "fragments in two\nping mine\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
}

// TestWebSocketLibraries: text, binary, large and compressed messages, fragments,
// pings both ways and close codes of libraries that none of us wrote arrive whole,
// through interception and then in the clear; a refusal is a status that they tell.
func TestWebSocketLibraries(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.bring(t, "testdata/websocket", nodeLibraries(t)...)
		var script strings.Builder
		for _, c := range talkers {
			fmt.Fprintf(&script, "echo '== %[1]s'\n(set -- wss://trust.test/%[1]s wss://trust.test/admin/%[1]s ws://only.test/%[1]s ws://only.test/admin/%[1]s\n%[2]s)\n", c.name, c.script)
		}
		p := sh(script.String())
		hosts := map[string]string{"only.test": s.sockets(t), "trust.test": s.sockets(t, filepath.Join(s.certs, "server.pem"), filepath.Join(s.certs, "server.key"))}
		const class = "communication.external.send"
		p.config = s.looksAt(t, hosts, apart("only.test", class)+apart("trust.test", class), "")
		r := s.run(t, p)
		said, events := sections(r.out), r.events(t)
		for _, c := range talkers {
			t.Run(c.name, func(t *testing.T) {
				want := strings.Repeat("text true\nbinary true\nlarge true\n"+c.says, 2)
				if !strings.EqualFold(said[c.name], want) { // Python's are True
					t.Errorf("the agent saw %q, want %q\n%s", said[c.name], want, r.err)
				}
				for _, host := range []string{"trust.test/", "only.test/"} {
					wantRecorded(t, events, 1, allow(host+c.name))
					wantRecorded(t, events, 1, answered(host+c.name, 101))
					wantRecorded(t, events, 1, pattern("request", "DENY", "PolicyDenied", host+"admin/"+c.name))
				}
			})
		}
		s.wantSealed(t, r)
	})
}

// sockets starts a WebSocket server, of TLS where a certificate and a key are given.
func (s *stage) sockets(t *testing.T, pair ...string) string {
	t.Helper()
	modules, err := filepath.Abs("../../bin/clients/node/node_modules")
	must(t, err)
	return s.daemon(t, "ready", func(_, port string) []string {
		return append([]string{"node", "testdata/websocket/serve.mjs", modules, port}, pair...)
	})
}
