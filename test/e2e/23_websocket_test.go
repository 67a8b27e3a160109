package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// talker is a WebSocket library that talks to the library ws through $1 and is refused
// at $2, and again with $3 and $4.
type talker struct{ name, script, says string }

var talkers = []talker{
	{"node-ws", `node talk.mjs ws $*`, "deflate true\nping mine\nserver's ping pong from the server\nclose 4001 as asked\ndenied 403\n"},
	{"undici", `node talk.mjs undici $*`, "deflate true\nserver's ping pong from the server\nclose 4001 as asked\ndenied\n"},
	{"bun", `./bun talk.mjs global $*`, "deflate true\nserver's ping pong from the server\nclose 4001 as asked\ndenied\n"},
	{"deno", `DENO_NO_UPDATE_CHECK=1 ./deno run -A talk.mjs global $*`, "deflate false\nserver's ping pong from the server\nclose 4001 as asked\ndenied\n"},
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
		s.bring(t, "testdata/websocket", append(nodeLibraries(t), runtimes(t)...)...)
		hosts := map[string]string{"only.test": s.sockets(t), "trust.test": s.sockets(t, filepath.Join(s.certs, "server.pem"), filepath.Join(s.certs, "server.key"))}
		const class = "communication.external.send"
		config := s.looksAt(t, hosts, apart("only.test", class)+apart("trust.test", class), "")
		for some := range slices.Chunk(talkers, 4) {
			var script strings.Builder
			for _, c := range some {
				fmt.Fprintf(&script, "echo '== %[1]s'\n(set -- wss://trust.test/%[1]s wss://trust.test/admin/%[1]s ws://only.test/%[1]s ws://only.test/admin/%[1]s\n%[2]s)\n", c.name, c.script)
			}
			p := sh(script.String())
			p.config = config
			r := s.run(t, p)
			said, events := sections(r.out), r.events(t)
			for _, c := range some {
				t.Run(c.name, func(t *testing.T) { c.judge(t, said[c.name], events, r.err) })
			}
			s.wantSealed(t, r)
		}
	})
}

func (c *talker) judge(t *testing.T, said string, events []event, errors string) {
	want := strings.Repeat("text true\nbinary true\nlarge true\n"+c.says, 2)
	if !strings.EqualFold(said, want) { // Python's are True
		t.Errorf("the agent saw %q, want %q\n%s", said, want, errors)
	}
	for _, host := range []string{"trust.test/", "only.test/"} {
		wantRecorded(t, events, 1, allow(host+c.name))
		wantRecorded(t, events, 1, answered(host+c.name, 101))
		if len(find(events, pattern("request", "DENY", "PolicyDenied", host+"admin/"+c.name))) == 0 { // Deno asks twice
			t.Errorf("no refusal is recorded%s", told(events))
		}
	}
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
