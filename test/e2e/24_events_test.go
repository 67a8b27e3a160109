package e2e

import (
	"fmt"
	"testing"
)

type listener struct{ name, script string }

// listeners read the events at $1 and confirm each at $2.
var listeners = []listener{
	{"httpx", `/usr/bin/python3 listen.py $1 $2`},
	{"aiohttp", `/usr/bin/python3 listen_aiohttp.py $1 $2`},
	{"node-fetch", `node listen.mjs $1 $2`},
	{"java", `java -XX:TieredStopAtLevel=1 Listen.java $1 $2`},
	{"curl-http2", `curl -sSN $1 | while read -r line; do case $line in data:*) echo "$line"; curl -sS -d '' $2;; esac; done`},
	{"curl-http1", `curl -sSN --http1.1 $1 | while read -r line; do case $line in data:*) echo "$line"; curl -sS --http1.1 -d '' $2;; esac; done`},
}

// TestEventListeners: each event is there before the origin sends the next one, through
// interception in HTTP/1.1 and HTTP/2, and in the clear by capture.
func TestEventListeners(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.bring(t, "testdata/clients")
		script := "echo '== plain'\n" + ignorant + "node listen.mjs http://plain.test/stream http://plain.test/confirm\n"
		for _, c := range listeners {
			script += fmt.Sprintf("echo '== %[1]s'\n(set -- https://trust.test/stream?%[1]s https://trust.test/confirm\n%[2]s)\n", c.name, c.script)
		}
		p := sh(script)
		s.hosts["plain.test"] = newEvents(t).addr
		p.config = s.looks(t, "trust.test", s.serveTLS(t, newEvents(t).handler()), "communication.external.send", "")
		r := s.run(t, p)
		said, events := sections(r.out), r.events(t)
		for _, c := range append(listeners, listener{name: "plain"}) {
			if want := "data: 0\ndata: 1\ndata: 2\n"; said[c.name] != want {
				t.Errorf("%s saw %q, want %q\n%s", c.name, said[c.name], want, r.err)
			}
			if c.name != "plain" {
				wantRecorded(t, events, 1, allow("trust.test/stream?"+c.name))
			}
		}
	})
}
