package conformance

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"firma/internal/sidecar/h2"
)

// TestH2spec: h2spec passes entirely, strict cases included.
func TestH2spec(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 1000))
	}))
	up.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	up.EnableHTTP2 = true
	up.StartTLS()
	defer up.Close()
	e := &enforcer{}
	port := serve(t, h2.Config{Enforcer: e, HeadTimeout: time.Second}, up.Listener.Addr().String())
	report := filepath.Join(t.TempDir(), "report.xml")
	cmd := exec.Command("go", "tool", "h2spec", "-t", "-k", "-h", name, "-p", strconv.Itoa(int(port)), "--strict", "-o", "5", "-j", report)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Run() // its status says only that some case failed
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			total++
			if c.Failure != nil || c.Error != nil || c.Skipped != nil {
				t.Errorf("fails or did not run: %s %s", c.Package, c.Name)
			}
		}
	}
	if total < 146 {
		t.Errorf("only %d cases ran", total)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Logf("%d cases; %d calls judged, %d violations audited", total, len(e.calls), e.malformed)
	if e.malformed < 50 {
		t.Errorf("only %d violations were audited", e.malformed)
	}
	if t.Failed() {
		t.Logf("%s", &out)
	}
}
