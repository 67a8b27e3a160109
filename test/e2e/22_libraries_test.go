package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firma/internal/testkit/world"
)

// asked is what a client prints that asks for what is allowed and what is refused:
// the refusal reads as firma's, not as a fault of the network.
const asked = "200 ok\n403 PolicyDenied\n"

// library asks for $1 and then for $2, which is refused, and prints a line for each.
type library struct {
	name, script string // name is the path that it asks for
	n            int    // how often it does it all, each time in another way
	says         string // each time; "" is asked
}

var libraries = []library{
	{"aiohttp", `/usr/bin/python3 get.py aiohttp $1 $2`, 1, ""},
	{"urllib3", `/usr/bin/python3 get.py urllib3 $1 $2`, 2, ""},
	{"pycurl", `/usr/bin/python3 get.py pycurl $1 $2`, 1, ""},
	{"httpx", `/usr/bin/python3 get.py httpx $1 $2`, 1, ""},
	{"httplib2", `/usr/bin/python3 get.py httplib2 $1 $2`, 1, ""},
	{"axios", `node get.mjs axios $1 $2`, 1, ""},
	{"got-http1", `node get.mjs got $1 $2`, 1, ""},
	{"got-http2", `node get.mjs got-http2 $1 $2`, 1, ""},
	{"undici-proxy", `node get.mjs undici $1 $2`, 1, ""},
	{"undici-env", `node get.mjs undici-env $1 $2`, 1, ""},
	{"node-fetch", `node get.mjs fetch $1 $2`, 1, ""},
	{"node-http2", `node get.mjs http2 $1 $2`, 1, ""},
	{"bun-fetch", `./bun get.mjs fetch $1 $2`, 1, ""},
	{"bun-axios", `./bun get.mjs axios $1 $2`, 1, ""},
	{"bun-http2", `./bun get.mjs http2 $1 $2`, 1, ""},
	{"deno-fetch", `DENO_NO_UPDATE_CHECK=1 ./deno run -A get.mjs fetch $1 $2`, 1, ""},
	{"deno-http2", `DENO_NO_UPDATE_CHECK=1 ./deno run -A get.mjs http2 $1 $2`, 1, ""},
	{"ruby", `ruby get.rb $1 $2`, 1, ""},
	{"php-curl", `php get.php curl $1 $2`, 1, ""},
	{"php-stream", `php get.php stream $1 $2`, 1, ""},
	{"perl-tiny", `perl get.pl $1 $2`, 1, ""},
	{"java-url", `java -XX:TieredStopAtLevel=1 GetURL.java $1 $2`, 1, ""},
	{"rust-ureq", `./get_ureq $1 $2`, 2, ""},
	{"rust-reqwest", `./get_reqwest $1 $2`, 1, ""},
	{"httpie", `http --ignore-stdin --print=hb $1 | grep -o '^HTTP/1.1 200'; http --ignore-stdin --print=hb $2 | grep -o '^HTTP/1.1 403\|"reason":"[a-zA-Z]*"'`, 1,
		"HTTP/1.1 200\nHTTP/1.1 403\n\"reason\":\"PolicyDenied\"\n"},
	{"aria2", `aria2c -q -d /tmp -o out $1 && grep -o '"method":"GET"' /tmp/out; aria2c -d /tmp -o out2 $2 | grep -o 'status=[0-9]*'`, 1,
		"\"method\":\"GET\"\nstatus=403\n"},
	// wget2 1.99 speaks TLS to any proxy that it asks for https.
	{"wget2", ignorant + `wget2 -q -O - $1 | grep -o '"method":"GET"'; wget2 -q -O - --content-on-error $2 | grep -o '"reason":"[a-zA-Z]*"'`, 1,
		"\"method\":\"GET\"\n\"reason\":\"PolicyDenied\"\n"},
	{"nghttp", `nghttp -v $1 | grep -o ':status: 200'; nghttp -v $2 | grep -o ':status: 403\|"reason":"[a-zA-Z]*"'`, 1,
		":status: 200\n:status: 403\n\"reason\":\"PolicyDenied\"\n"},
}

// TestLibraries: HTTP libraries, runtimes and downloaders that none of us wrote verify
// what firma shows them without a flag, get what is allowed, and learn why the rest is
// not. A dozen share a run.
func TestLibraries(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		s.bring(t, "testdata/clients", slices.Concat(nodeLibraries(t), runtimes(t), []string{"rust/target/debug/get_ureq", "rust/target/debug/get_reqwest"})...)
		config := s.looks(t, "trust.test", s.origin.TLSAddr().String(), "code.read", "")
		for some := range slices.Chunk(libraries, 13) {
			var script strings.Builder
			for _, c := range some {
				script.WriteString("echo '== " + c.name + "'\n(set -- https://trust.test/" + c.name + " https://trust.test/admin/" + c.name + "\n" + c.script + ")\n")
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

func (c *library) judge(t *testing.T, said string, events []event, errors string) {
	want := asked
	if c.says != "" {
		want = c.says
	}
	if want = strings.Repeat(want, c.n); said != want {
		t.Errorf("the agent saw %q, want %q\n%s", said, want, errors)
	}
	wantRecorded(t, events, c.n, allow("trust.test/"+c.name))
	wantRecorded(t, events, c.n, pattern("request", "DENY", "PolicyDenied", "trust.test/admin/"+c.name))
}

// sections are the parts of an output, each after a line "== NAME".
func sections(out string) map[string]string {
	parts := map[string]string{}
	for _, p := range strings.Split("\n"+out, "\n== ")[1:] {
		name, text, _ := strings.Cut(p, "\n")
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		parts[name] = text
	}
	return parts
}

// bring puts a directory's files into the project, and clients that `make
// build-clients` has made: node's under node_modules, programs beside the files.
func (s *stage) bring(t *testing.T, dir string, made ...string) {
	t.Helper()
	must(t, os.CopyFS(s.Project, os.DirFS(dir)))
	for _, name := range made {
		from := filepath.Join("../../bin/clients", name)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatalf("%v (make build-clients)", err)
		}
		if info.IsDir() {
			must(t, os.CopyFS(filepath.Join(s.Project, strings.TrimPrefix(name, "node/")), os.DirFS(from)))
			continue
		}
		world.CopyProgram(t, from, filepath.Join(s.Project, filepath.Base(name)))
	}
	must(t, s.Account.OwnTree(s.Home))
}

// runtimes are Bun and Deno.
func runtimes(t *testing.T) (names []string) {
	t.Helper()
	for _, pattern := range []string{"@oven/*/bin/bun", "@deno/*/deno"} {
		found, _ := filepath.Glob(filepath.Join("../../bin/clients/node/node_modules", pattern))
		if len(found) != 1 {
			t.Fatalf("%d programs are %s (make build-clients)", len(found), pattern)
		}
		names = append(names, strings.TrimPrefix(found[0], "../../bin/clients/"))
	}
	return names
}

// nodeLibraries are all of node's clients but package managers and runtimes, which are
// large.
func nodeLibraries(t *testing.T) (names []string) {
	t.Helper()
	all, err := os.ReadDir("../../bin/clients/node/node_modules")
	if err != nil {
		t.Fatalf("%v (make build-clients)", err)
	}
	for _, e := range all {
		if n := e.Name(); !slices.Contains([]string{"pnpm", "yarn", "@oven", "@deno"}, n) && n[0] != '.' {
			names = append(names, "node/node_modules/"+n)
		}
	}
	return names
}
