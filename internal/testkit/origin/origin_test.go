package origin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, o Options) *Origin {
	t.Helper()
	o.Plain, o.TLS = "127.0.0.1:0", "127.0.0.1:0"
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client sends every request to the origin, whatever its host.
func client(s *Origin) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM())
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}
	tr.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
		if strings.HasSuffix(addr, ":443") {
			return net.Dial("tcp", s.TLSAddr().String())
		}
		return net.Dial("tcp", s.PlainAddr().String())
	}
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, s *Origin, url string) (int, string) {
	t.Helper()
	resp, err := client(s).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAnswersOnBothListenersAndRecords(t *testing.T) {
	var log bytes.Buffer
	s := start(t, Options{Log: &log})
	for _, u := range []string{"http://allowed.test/a?b=c", "https://evil.test/d"} {
		if code, body := get(t, s, u); code != 200 || !strings.Contains(body, `"method":"GET"`) {
			t.Errorf("GET %s = %d %q", u, code, body)
		}
	}
	got := s.Requests("evil.test")
	if len(got) != 1 || got[0].SNI != "evil.test" || got[0].Proto != "HTTP/2.0" || got[0].Path != "/d" {
		t.Errorf("requests for evil.test: %+v", got)
	}
	kinds := ""
	for line := range strings.Lines(log.String()) {
		var r Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		kinds += r.Kind + " "
	}
	if kinds != "connection request connection request " {
		t.Errorf("log holds %q", kinds)
	}
}

func TestAConnectionAloneIsRecorded(t *testing.T) {
	s := start(t, Options{})
	c, err := net.Dial("tcp", s.TLSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "not TLS\n")
	_, _ = io.Copy(io.Discard, c) // ends when the server gives up
	_ = c.Close()
	if got := s.Records(); len(got) != 1 || got[0].Kind != "connection" || got[0].Scheme != "https" {
		t.Errorf("records %+v", got)
	}
	s.Reset()
	if got := s.Records(); len(got) != 0 {
		t.Errorf("after Reset: %+v", got)
	}
}

func TestRoutes(t *testing.T) {
	s := start(t, Options{})
	cases := []struct {
		path string
		code int
		body string
	}{
		{"/bytes/5", 200, "xxxxx"},
		{"/bytes/-1", 400, "bytes: not a size\n"},
		{"/status/418", 418, ""},
		{"/redirect?to=" + url.QueryEscape("http://evil.test/x"), 302, ""},
		{"/sse?n=2&ms=0", 200, "id: 0\ndata: event 0\n\nid: 1\ndata: event 1\n\n"},
		{"/slow?ms=0", 200, "slow\n"},
	}
	for _, c := range cases {
		if code, body := get(t, s, "http://allowed.test"+c.path); code != c.code || body != c.body {
			t.Errorf("%s = %d %q, want %d %q", c.path, code, body, c.code, c.body)
		}
	}
	if _, body := get(t, s, "http://allowed.test/headers"); !strings.Contains(body, "User-Agent") {
		t.Errorf("/headers = %q", body)
	}
}

func TestBodyIsHashed(t *testing.T) {
	s := start(t, Options{})
	resp, err := client(s).Post("http://allowed.test/sink", "text/plain", strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2 example
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := s.Wait(ctx, func(r Record) bool { return r.Kind == "body" })
	if err != nil || r.BodyHash != abc || r.BodySize != 3 {
		t.Errorf("body record %+v, %v; all: %+v", r, err, s.Records())
	}
}

func TestEventsAreFlushedOneByOne(t *testing.T) {
	s := start(t, Options{})
	resp, err := client(s).Get("http://allowed.test/sse?n=1000000&ms=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "id: 0\n" {
		t.Errorf("first line %q, %v", line, err)
	}
}

func TestCertDirIsKept(t *testing.T) {
	dir := t.TempDir()
	a := start(t, Options{CertDir: dir})
	b := start(t, Options{CertDir: dir})
	if !bytes.Equal(a.CAPEM(), b.CAPEM()) {
		t.Error("a second start made another authority")
	}
}
