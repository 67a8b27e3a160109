package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// registry is a package manager, the host that serves it one package, called tiny, and
// what it must ask that host for.
type registry struct {
	name, host string
	h          http.Handler
	script     string // starts in an empty home
	says       string
	file       string // of the host
}

func registries(t *testing.T) []registry {
	return []registry{
		{"go", "go.test", goProxy(t), `mkdir app && cd app && export GOPROXY=https://go.test GOSUMDB=off GOFLAGS=-mod=mod GOTOOLCHAIN=local
go mod init app.test && go get tiny.test/tiny@latest >&2 && go mod download >&2 && go list -m all`, "app.test\ntiny.test/tiny v1.0.0\n", "/tiny.test/tiny/@v/v1.0.0.zip"},
		{"yarn", "npm.test", npm(t, "https"), `mkdir app && cd app && echo '{"name":"app","version":"1.0.0"}' > package.json
node $project/node_modules/yarn/bin/yarn.js add tiny --silent --no-progress --registry https://npm.test >&2 && node -e 'require("tiny")'`, "hello from a tarball\n", "/tiny/-/tiny-1.0.0.tgz"},
		{"pnpm", "npm.test", npm(t, "https"), `mkdir app && cd app && echo '{"name":"app","version":"1.0.0"}' > package.json
node $project/node_modules/pnpm/bin/pnpm.cjs add tiny --silent --registry https://npm.test >&2 && node -e 'require("tiny")'`, "hello from a tarball\n", "/tiny/-/tiny-1.0.0.tgz"},
		{"bun", "npm.test", npm(t, "https"), `mkdir app && cd app && echo '{"name":"app","version":"1.0.0"}' > package.json
$project/bun add tiny --silent --registry https://npm.test >&2 && $project/bun -e 'require("tiny")'`, "hello from a tarball\n", "/tiny/-/tiny-1.0.0.tgz"},
		{"apt", "apt.test", debs(t), apt("http://only.test") + apt("https://apt.test"), "hello from a .deb\nhello from a .deb\n", "/tiny_1.0_all.deb"},
		{"gem", "gem.test", gems(t), `gem install tiny --install-dir gems --no-document --clear-sources --source https://gem.test/ >&2 && GEM_PATH=$PWD/gems ruby -e 'require "tiny"'`,
			"hello from a gem\n", "/gems/tiny-1.0.0.gem"},
		{"composer", "composer.test", composer(t), `echo '{"repositories":[{"type":"composer","url":"https://composer.test"},{"packagist.org":false}],"require":{"tiny/tiny":"*"}}' > composer.json
composer -q install >&2 && php vendor/tiny/tiny/hello.php`, "hello from composer\n", "/tiny.tar.gz"},
		{"cargo", "cargo.test", crates(t), cargoFetch, "tiny 1.0.0\n", "/dl/tiny/1.0.0"},
		{"maven", "maven.test", jars(), mavenExtension, "BUILD SUCCESS\n", "/test/tiny/1.0/tiny-1.0.jar"},
	}
}

// apt updates from a repository, downloads what is to be installed, and
// looks into it: installing needs root.
func apt(url string) string {
	return `mkdir -p apt/lists/partial apt/archives/partial apt/etc && echo "deb [trusted=yes] ` + url + ` ./" > apt/sources && : > apt/status &&
apt="apt-get -q -o Dir::Etc=$PWD/apt/etc -o Dir::Etc::sourcelist=$PWD/apt/sources -o Dir::State=$PWD/apt -o Dir::State::status=$PWD/apt/status -o Dir::Cache=$PWD/apt -o Debug::NoLocking=1" &&
$apt update >&2 && $apt install -y --download-only tiny >&2 && dpkg-deb --fsys-tarfile apt/archives/tiny_1.0_all.deb | tar -xO ./usr/share/tiny/hello; rm -rf apt
`
}

const mavenExtension = `mkdir -p app .m2 && cd app && cat > pom.xml <<'E'
<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>app</artifactId><version>1</version><packaging>pom</packaging>
<pluginRepositories><pluginRepository><id>central</id><url>https://maven.test/</url></pluginRepository></pluginRepositories>
<build><extensions><extension><groupId>test</groupId><artifactId>tiny</artifactId><version>1.0</version></extension></extensions></build></project>
E
mvn -B -ntp -Dmaven.repo.local=$HOME/.m2 validate | grep -o 'BUILD SUCCESS'`

const cargoFetch = `mkdir -p app/src app/.cargo && cd app && touch src/lib.rs &&
printf '[registries.local]\nindex = "sparse+https://cargo.test/index/"\n' > .cargo/config.toml &&
printf '[package]\nname = "app"\nversion = "0.1.0"\n[dependencies]\ntiny = { version = "1", registry = "local" }\n' > Cargo.toml &&
CARGO_HOME=$HOME/.cargo cargo fetch -q >&2 && sed -n '/name = "tiny"/{n;s/version = "\(.*\)"/tiny \1/p}' Cargo.lock`

// goProxy serves one module as a module proxy does.
func goProxy(t *testing.T) http.Handler {
	t.Helper()
	const mod = "module tiny.test/tiny\n\ngo 1.20\n"
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"go.mod": mod, "tiny.go": "package tiny\n"} {
		w, err := z.Create("tiny.test/tiny@v1.0.0/" + name)
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
	}
	must(t, z.Close())
	return files(map[string]string{"/tiny.test/tiny/@v/list": "v1.0.0\n", "/tiny.test/tiny/@v/v1.0.0.info": `{"Version":"v1.0.0"}`,
		"/tiny.test/tiny/@v/v1.0.0.mod": mod, "/tiny.test/tiny/@v/v1.0.0.zip": b.String()})
}

// debs serves one package as a flat repository does.
func debs(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	const control = "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody\nDescription: tiny\n"
	must(t, errors.Join(os.MkdirAll(filepath.Join(dir, "DEBIAN"), 0o755), os.MkdirAll(filepath.Join(dir, "usr/share/tiny"), 0o755),
		os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644), os.WriteFile(filepath.Join(dir, "usr/share/tiny/hello"), []byte("hello from a .deb\n"), 0o644)))
	path := filepath.Join(t.TempDir(), "tiny.deb")
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", dir, path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	deb, err := os.ReadFile(path)
	must(t, err)
	packages := fmt.Sprintf("%sFilename: ./tiny_1.0_all.deb\nSize: %d\nSHA256: %x\n", control, len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %x %d Packages\n", sha256.Sum256([]byte(packages)), len(packages))
	return files(map[string]string{"/Release": release, "/Packages": packages, "/tiny_1.0_all.deb": string(deb)})
}

// crates serves one crate as a sparse registry does.
func crates(t *testing.T) http.Handler {
	t.Helper()
	data := packed(t, [][2]string{
		{"tiny-1.0.0/Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\n"},
		{"tiny-1.0.0/src/lib.rs", "\n"},
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /index/config.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"dl":"https://cargo.test/dl/{crate}/{version}"}`))
	})
	mux.HandleFunc("GET /index/ti/ny/tiny", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"name":"tiny","vers":"1.0.0","deps":[],"cksum":"%x","features":{},"yanked":false}`+"\n", sha256.Sum256(data))
	})
	mux.HandleFunc("GET /dl/tiny/1.0.0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	return mux
}

// gems serves one gem as a static index does.
func gems(t *testing.T) http.Handler {
	t.Helper()
	dir := t.TempDir()
	const spec = `Gem::Specification.new { |s| s.name = "tiny"; s.version = "1.0.0"; s.summary = "tiny"; s.authors = ["nobody"]; s.files = ["lib/tiny.rb"] }`
	must(t, errors.Join(os.MkdirAll(filepath.Join(dir, "lib"), 0o755), os.MkdirAll(filepath.Join(dir, "index/gems"), 0o755),
		os.WriteFile(filepath.Join(dir, "tiny.gemspec"), []byte(spec), 0o644), os.WriteFile(filepath.Join(dir, "lib/tiny.rb"), []byte("puts 'hello from a gem'\n"), 0o644)))
	cmd := exec.Command("sh", "-c", "gem build -q tiny.gemspec -o index/gems/tiny-1.0.0.gem && gem generate_index -q -d index")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s (scripts/deps.sh test)", err, out)
	}
	return http.FileServer(http.Dir(filepath.Join(dir, "index")))
}

// composer serves one package as a repository of PHP's does.
func composer(t *testing.T) http.Handler {
	t.Helper()
	const about = `{"packages":{"tiny/tiny":{"1.0.0":{"name":"tiny/tiny","version":"1.0.0","dist":{"type":"tar","url":"https://composer.test/tiny.tar.gz"}}}}}`
	data := packed(t, [][2]string{{"tiny/composer.json", `{"name":"tiny/tiny"}`}, {"tiny/hello.php", "<?php echo \"hello from composer\\n\";\n"}})
	return files(map[string]string{"/packages.json": about, "/tiny.tar.gz": string(data)})
}

// jars serves one library as a Maven repository does.
func jars() http.Handler {
	var b bytes.Buffer
	_ = zip.NewWriter(&b).Close()
	return files(map[string]string{"/test/tiny/1.0/tiny-1.0.jar": b.String(),
		"/org/codehaus/plexus/plexus-utils/1.1/plexus-utils-1.1.jar": b.String(), // every extension gets it
		"/test/tiny/1.0/tiny-1.0.pom":                                "<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>tiny</artifactId><version>1.0</version></project>"})
}

// files serves texts by their paths and nothing else.
func files(texts map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := texts[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write([]byte(text))
	})
}

// TestRegistries: package managers install through interception, with no word on whom
// to trust; apt does so in the clear, too. Some share a run.
func TestRegistries(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	all := registries(t)
	everyone(t, func(t *testing.T, s *stage) {
		s.bring(t, "testdata/clients", append(runtimes(t), "node/node_modules/yarn", "node/node_modules/pnpm")...)
		hosts, fetched := map[string]string{"only.test": serve(t, debs(t))}, map[string]int{"only.test/tiny_1.0_all.deb": 1}
		rules := rule("only.test", "system.install")
		for _, c := range all {
			if hosts[c.host] == "" {
				hosts[c.host] = s.serveTLS(t, c.h)
				rules += apart(c.host, "system.install")
			}
			fetched[c.host+c.file]++
		}
		config := s.looksAt(t, hosts, rules, "")
		var events []event
		for some := range slices.Chunk(all, 5) {
			script := "project=$PWD\n"
			for _, c := range some {
				script += "echo '== " + c.name + "'\n(export HOME=/tmp/" + c.name + "; mkdir $HOME && cd $HOME\n" + c.script + ")\n"
			}
			p := sh(script)
			p.env = []string{"PATH=" + filepath.Join(strings.TrimSpace(string(goroot)), "bin") + ":/usr/bin:/bin"}
			p.config = config
			r := s.run(t, p)
			said := sections(r.out)
			for _, c := range some {
				if said[c.name] != c.says {
					t.Errorf("%s: the agent saw %q, want %q\n%s", c.name, said[c.name], c.says, r.err)
				}
			}
			events = append(events, r.events(t)...)
			s.wantSealed(t, r)
		}
		for file, n := range fetched {
			wantRecorded(t, events, n, answered(file, 200))
		}
	})
}
