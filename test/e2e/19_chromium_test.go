package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// browse is a script that defines browse URL by the commands of docs/trust.md:
// headless Chromium without its own sandbox, which wants namespaces, and with
// firma's authority in an NSS database, since it reads no bundle.
func browse(t *testing.T) string {
	t.Helper()
	shown := commandsOf(t, filepath.Join(repository(t), "docs/trust.md"))
	last := len(shown) - 1
	run, found := "", false
	if last > 0 {
		run, found = strings.CutSuffix(shown[last], "https://example.com")
	}
	if !found {
		t.Fatalf("docs/trust.md shows something else: %q", shown)
	}
	return strings.Join(shown[:last], " && ") + " || exit\ncd ~\nbrowse() { timeout 60 " + run + ` "$1" 2>>errors.txt || echo "status $?"; }
`
}

// page is an origin whose document asks for a script, which writes what a fetch
// brought into the document.
func page() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<!doctype html><p id=p>static</p><script src=/script.js></script>`))
	})
	mux.HandleFunc("/script.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write([]byte(`const x = new XMLHttpRequest(); x.open("GET", "/data", false); x.send();
document.getElementById("p").textContent = "script " + x.responseText;
const y = new XMLHttpRequest(); y.open("POST", "/admin/x", false); y.send();
document.getElementById("p").textContent += " " + y.status;`))
	})
	mux.HandleFunc("/data", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data")) })
	return mux
}

// TestChromium: a browser loads a page through interception, by the proxy and
// captured, with what the page asks for judged request by request.
func TestChromium(t *testing.T) {
	if _, err := os.Stat("/usr/bin/chromium-headless-shell"); err != nil {
		t.Fatalf("%v (scripts/deps.sh test)", err)
	}
	everyone(t, func(t *testing.T, s *stage) {
		config := s.looks(t, "trust.test", s.serveTLS(t, page()), "code.read", "")
		for name, before := range map[string]string{"proxy": "", "captured": ignorant} {
			t.Run(name, func(t *testing.T) {
				p := sh(before + browse(t) + `browse https://trust.test/page
browse https://trust.test/admin/page; cat errors.txt >&2`)
				p.config = config
				r := s.run(t, p).wantCode(t, 0)
				for _, says := range []string{"script data 403", `"reason":"PolicyDenied"`} {
					if !strings.Contains(r.out, says) {
						t.Errorf("the agent saw no %q: %s", says, r)
					}
				}
				events := r.events(t)
				for _, path := range []string{"/page", "/script.js", "/data"} {
					wantRecorded(t, events, 1, allow("trust.test"+path))
				}
				wantRecorded(t, events, 1, pattern("request", "DENY", "PolicyDenied", "trust.test/admin/x"))
				wantRecorded(t, events, 1, pattern("request", "DENY", "PolicyDenied", "trust.test/admin/page"))
				s.wantSealed(t, r)
			})
		}
	})
}
