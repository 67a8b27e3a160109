package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// wheel is the smallest package pip installs: one module that says hello.
func wheel(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range [][2]string{
		{"tiny.py", "print('hello from a wheel')\n"},
		{"tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"},
		{"tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: firma\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"tiny-1.0.dist-info/RECORD", "tiny.py,,\ntiny-1.0.dist-info/METADATA,,\ntiny-1.0.dist-info/WHEEL,,\ntiny-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(f[0])
		must(t, err)
		_, err = w.Write([]byte(f[1]))
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

const wheelName = "tiny-1.0-py3-none-any.whl"

// newIndex serves the wheel as a simple index does (PEP 503).
func newIndex(t *testing.T) string { return serve(t, index(t)) }

func index(t *testing.T) http.Handler {
	t.Helper()
	data := wheel(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /simple/tiny/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<!DOCTYPE html><a href=\"/files/%s\">%s</a>", wheelName, wheelName)
	})
	mux.HandleFunc("GET /files/"+wheelName, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	return mux
}

// newNPM serves one package as an npm registry does.
func newNPM(t *testing.T) string { return serve(t, npm(t, "http")) }

func npm(t *testing.T, scheme string) http.Handler {
	t.Helper()
	data := tarball(t)
	sum := sha512.Sum512(data)
	version := map[string]any{"name": "tiny", "version": "1.0.0", "dist": map[string]string{
		"tarball": scheme + "://npm.test/tiny/-/tiny-1.0.0.tgz", "integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:])}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tiny", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "tiny", "dist-tags": map[string]string{"latest": "1.0.0"},
			"versions": map[string]any{"1.0.0": version}})
	})
	mux.HandleFunc("GET /tiny/-/tiny-1.0.0.tgz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	return mux
}

func tarball(t *testing.T) []byte {
	t.Helper()
	return packed(t, [][2]string{
		{"package/package.json", `{"name":"tiny","version":"1.0.0","main":"index.js"}`},
		{"package/index.js", "console.log('hello from a tarball')\n"},
	})
}

// packed is a gzipped tar archive of the files.
func packed(t *testing.T, files [][2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, f := range files {
		must(t, tw.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}))
		_, err := tw.Write([]byte(f[1]))
		must(t, err)
	}
	must(t, tw.Close())
	must(t, zw.Close())
	return b.Bytes()
}

const pipInstall = `cd ~ && python3 -m pip install -q --disable-pip-version-check --no-cache-dir --no-deps --target lib \
	--index-url http://pypi.test/simple/ --trusted-host pypi.test tiny >&2 && PYTHONPATH=lib python3 -c 'import tiny'`

const npmInstall = `cd ~ && npm install --silent --no-audit --no-fund --no-update-notifier --registry http://npm.test tiny >&2 && node -e 'require("tiny")'`

// TestPackages: pip and npm install from a registry that a rule covers.
func TestPackages(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		for _, c := range []struct{ name, host, addr, script, says, file string }{
			{"pip", "pypi.test", newIndex(t), pipInstall, "hello from a wheel\n", "pypi.test/files/" + wheelName},
			{"npm", "npm.test", newNPM(t), npmInstall, "hello from a tarball\n", "npm.test/tiny/-/tiny-1.0.0.tgz"},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := sh(c.script)
				p.config = s.configure(t, settings{hosts: map[string]string{c.host: c.addr}, rules: rule(c.host, "system.install")})
				r := s.run(t, p).wantCode(t, 0)
				if r.out != c.says {
					t.Errorf("the agent saw %s", r)
				}
				for _, e := range wantRecorded(t, r.events(t), 1, allow(c.file)) {
					if e.Action != "system.install" {
						t.Errorf("classed %s", e.Action)
					}
				}
			})
		}
	})
}

// TestOwnRegistry: without a rules file, the registry that the host's own pip is
// configured for is covered, and no other.
func TestOwnRegistry(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		p := sh(pipInstall)
		p.config = s.configureShipped(t, map[string]string{"pypi.test": newIndex(t)})
		p.env = []string{"PIP_INDEX_URL=http://pypi.test/simple/"}
		r := s.run(t, p).wantCode(t, 0)
		if r.out != "hello from a wheel\n" {
			t.Errorf("the agent saw %s", r)
		}
		p.env = nil
		r = s.run(t, p)
		if r.code == 0 || strings.Contains(r.out, "hello") {
			t.Errorf("an index that the host is not configured for was used: %s", r)
		}
		if found := find(r.events(t), pattern("", "DENY", "UnclassifiedIntent", "pypi.test")); len(found) == 0 {
			t.Errorf("no refusal recorded%s", told(r.events(t)))
		}
	})
}
