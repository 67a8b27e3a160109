package h2

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"firma/internal/sidecar/proxy"
	"firma/internal/verdict"
)

// TestRealClients has clients that others wrote do what agents do.
func TestRealClients(t *testing.T) {
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/plain" {
			w.Header().Set("Trailer", "X-Sum")
			defer w.Header().Set("X-Sum", "42")
		}
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, len(b))
		if r.URL.Path == "/large" {
			io.Copy(w, io.LimitReader(endless{}, 3<<20))
		}
	}), "h2")
	e := newEnforcer()
	e.ended = make(chan proxy.Dispatch, 5000)
	e.decide = denyPath("/denied")
	_, addr := startAs(t, Config{Enforcer: e, DialTLS: dialTo(up)}, "localhost")
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "body")
	if err := os.WriteFile(file, pattern(3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "https://localhost:" + addr[strings.LastIndexByte(addr, ':')+1:]
	node := func(script string) []string {
		return []string{"node", "-e", "const h2=require('http2'),fs=require('fs');const c=h2.connect('" + url + "',{ca:fs.readFileSync('" + ca + "')});" + script}
	}
	curl := func(args ...string) []string {
		return append([]string{"curl", "-sS", "--http2", "--cacert", ca}, args...)
	}
	for _, tt := range []struct {
		name string
		argv []string
		want string // pattern of the output
	}{
		{"curl", curl("-w", " %{http_version} %{http_code}", url+"/a"), `^GET /a 0 2 200$`},
		{"curl uploads", curl("-T", file, url+"/up"), `^PUT /up 3145728$`},
		{"curl uploads and expects", curl("-H", "Expect: 100-continue", "-T", file, url+"/up"), `^PUT /up 3145728$`},
		{"curl is denied", curl("-w", " %{http_code}", "-d", "x", url+"/denied"), `(?s)"reason":"PolicyDenied".* 403$`},
		{"curl is denied a large upload", curl("-w", " %{http_code}", "-T", file, url+"/denied"), `(?s)"reason":"PolicyDenied".* 403$`},
		{"curl, head", curl("-I", url+"/a"), `(?s)^HTTP/2 200`},
		{"curl, many at once", curl("-Z", url+"/plain?[1-50]", "-o", "/dev/null", "-w", "%{http_code}."), `^(200\.){50}$`},
		{"curl, another host", curl("-H", "Host: evil.test", url+"/a"), `"reason":"MalformedRequest"`},
		{"nghttp", []string{"nghttp", "-y", url + "/a", url + "/b"}, `GET /[ab] 0`},
		{"nghttp uploads", []string{"nghttp", "-y", "-d", file, "-H:method: PUT", url + "/up"}, `PUT /up 3145728`},
		{"nghttp, trailers", []string{"nghttp", "-vy", url + "/a"}, `x-sum: 42`},
		{"h2load", []string{"h2load", "-n", "1000", "-c", "4", "-m", "50", url + "/a"}, `1000 succeeded, 0 failed, 0 errored, 0 timeout`},
		{"h2load, large", []string{"h2load", "-n", "10", "-c", "2", "-m", "5", url + "/large"}, `10 succeeded, 0 failed, 0 errored, 0 timeout`},
		{"node, trailers", node(`const r=c.request({':path':'/a'});r.setEncoding('utf8');let b='';r.on('data',d=>b+=d);
			r.on('trailers',h=>console.log('trailers',h['x-sum']));r.on('end',()=>{console.log(b);c.close()});r.end()`), `trailers 42\nGET /a 0`},
		{"node, cancels", node(`const r=c.request({':path':'/large'});r.on('data',()=>r.close(h2.constants.NGHTTP2_CANCEL));
			r.on('close',()=>{console.log('closed');c.close()});r.end()`), `^closed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil {
				t.Fatalf("%v: run scripts/deps.sh test", err)
			}
			var stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), tt.argv[0], tt.argv[1:]...)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || !regexp.MustCompile(tt.want).Match(out) {
				t.Errorf("%v\n%.1000s\n%.1000s", err, out, &stderr)
			}
		})
		for len(e.ended) > 0 {
			if d := <-e.ended; d.Abort != verdict.None && tt.name != "node, cancels" {
				t.Errorf("%s: %+v", tt.name, d)
			}
		}
	}
}
