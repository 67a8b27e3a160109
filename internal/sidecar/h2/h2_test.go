package h2

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// both runs a test against an upstream of either version.
func both(t *testing.T, test func(t *testing.T, protos ...string)) {
	t.Run("h2", func(t *testing.T) { test(t, "h2") })
	t.Run("h1", func(t *testing.T) { test(t, "http/1.1") })
}

func TestRequestAndResponseAsTheyAre(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		seen := make(chan *http.Request, 1)
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen <- r
			h := w.Header()
			h["X-Two"] = []string{"a", "b"}
			h.Set("Set-Cookie", "s=1")
			h["Content-Type"] = nil
			h["Date"] = nil
			h.Set("X-Firma-Session-Id", "forged")
			w.WriteHeader(201)
			w.Write(append([]byte("<html>"), body...))
		}), protos...)
		e := newEnforcer()
		e.decide = func(*intent.Call) verdict.Decision {
			return verdict.Decision{Outcome: verdict.Modify, RedactHeaders: []string{"X-Secret"}}
		}
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		req, _ := http.NewRequest("POST", "https://"+host+"/a/./b//c?q=1&r=%41", strings.NewReader("body"))
		req.Header = http.Header{
			"User-Agent": nil, "X-Secret": {"s"}, "X_secret": {"s"}, "X-Firma-Agent": {"me"}, "X-Many": {"1", "2"},
			"Cookie": {"a=1; b=2"}, "X-Http-Method-Override": {"patch"}, "Proxy-Authorization": {"x"},
		}
		resp, err := client(t, addr).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 201 || string(body) != "<html>body" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		want := http.Header{"X-Two": {"a", "b"}, "Set-Cookie": {"s=1"}}
		if protos[0] == "h2" || resp.Header.Get("Content-Length") != "" {
			want["Content-Length"] = []string{"10"}
		}
		if got := resp.Header; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("response fields %v, want %v", got, want)
		}
		r := receive(t, seen)
		wantHeader := http.Header{"X-Many": {"1", "2"}, "Cookie": {"a=1; b=2"}, "X-Http-Method-Override": {"PATCH"}, "Content-Length": {"4"}}
		if fmt.Sprint(r.Header) != fmt.Sprint(wantHeader) {
			t.Errorf("request fields %v, want %v", r.Header, wantHeader)
		}
		if r.RequestURI != "/a/b/c?q=1&r=A" && r.RequestURI != "/a/b/c?q=1&r=%41" || r.Host != host || r.Method != "POST" {
			t.Errorf("%s %s %s", r.Method, r.Host, r.RequestURI)
		}
		if log := e.take(); len(log) != 1 || !strings.HasSuffix(log[0], " POST "+host+r.RequestURI) {
			t.Errorf("judged %q, sent %q", log, r.RequestURI)
		}
		d := receive(t, e.ended)
		if d.Status != 201 || d.Abort != verdict.None || d.RequestBytes != 4 || d.ResponseBytes != 10 {
			t.Errorf("%+v", d)
		}
	})
}

func TestDenied(t *testing.T) {
	e := newEnforcer()
	e.decide = func(c *intent.Call) verdict.Decision {
		if c.Path == "/defer" {
			return verdict.Decision{Outcome: verdict.Defer, RetryAfter: 1500 * time.Millisecond}
		}
		return verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied, Detail: "no"}
	}
	_, addr := start(t, Config{Enforcer: e})
	c := client(t, addr)
	resp, body := get(t, c, "/x")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || got["denied"] != true || got["reason"] != "PolicyDenied" {
		t.Errorf("%s (%v)", body, err)
	}
	if resp.StatusCode != 403 || resp.Header.Get("X-Firma-Event") != "aevt_1" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	// A client of gRPC shows its caller nothing but the status of gRPC.
	resp, err := c.Post("https://"+host+"/pkg.Service/Method", "application/grpc+proto", bytes.NewReader(pattern(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if h := resp.Header; resp.StatusCode != 200 || h.Get("Grpc-Status") != "7" || h.Get("Grpc-Message") != "firma: PolicyDenied: no" ||
		h.Get("Content-Type") != "application/grpc" || h.Get("X-Firma-Event") != "aevt_1" {
		t.Errorf("%d %v", resp.StatusCode, h)
	}
	if resp, _ := get(t, c, "/defer"); resp.Header.Get("Retry-After") != "2" {
		t.Errorf("%v", resp.Header)
	}
	// A large body that nobody wants does not hold up the answer.
	resp, err = c.Post("https://"+host+"/x", "", bytes.NewReader(pattern(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Error(resp.StatusCode)
	}
	head, err := c.Head("https://" + host + "/x")
	if err != nil || head.StatusCode != 403 {
		t.Errorf("%v %v", head, err)
	}
}

func TestUpstreamFails(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e})
	resp, body := get(t, client(t, addr), "/x")
	if resp.StatusCode != 504 || !strings.Contains(body, `"aborted":true,"reason":"CONNECTOR_FAILURE"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || d.Status != 0 {
		t.Errorf("%+v", d)
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 1 {
				http.NewResponseController(w).EnableFullDuplex()
			}
			io.Copy(w, r.Body)
		}), protos...)
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		const n = 20 << 20
		resp, err := client(t, addr).Post("https://"+host+"/", "", io.LimitReader(endless{}, n))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if got != n || err != nil {
			t.Errorf("%d bytes, %v", got, err)
		}
		if d := receive(t, e.ended); d.RequestBytes != n || d.ResponseBytes != n || d.Abort != "" {
			t.Errorf("%+v", d)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func TestEventsArriveOneByOne(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		next := make(chan struct{})
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				w.(http.Flusher).Flush()
				<-next
			}
		}), protos...)
		_, addr := start(t, Config{DialTLS: dialTo(up)})
		resp, err := client(t, addr).Get("https://" + host + "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 3 {
			want := fmt.Sprintf("data: %d\n\n", i)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("%q %v", got, err)
			}
			next <- struct{}{}
		}
	})
}

func TestTrailersAndInterim(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		seen := make(chan http.Header, 1)
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(103)
			w.Header().Del("Link")
			w.Header().Set("Trailer", "X-Sum")
			io.Copy(io.Discard, r.Body)
			seen <- r.Trailer
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"X-Firma-User", "forged")
		}), protos...)
		_, addr := start(t, Config{DialTLS: dialTo(up)})
		req, _ := http.NewRequest("POST", "https://"+host+"/", struct{ io.Reader }{strings.NewReader("x")})
		req.Trailer = http.Header{"X-Md5": {"abc"}, "Authorization": {"no"}}
		var interims []int
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if h.Get("Link") != "" {
					interims = append(interims, code)
				}
				return nil
			},
		}))
		resp, err := client(t, addr).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if !slices.Equal(interims, []int{103}) {
			t.Errorf("interim %v", interims)
		}
		if got := fmt.Sprint(resp.Trailer); got != "map[Grpc-Status:[0] X-Sum:[42]]" {
			t.Errorf("trailers %s", got)
		}
		if got := receive(t, seen); got.Get("X-Md5") != "abc" || got.Get("Authorization") != "" {
			t.Errorf("request trailers %v", got)
		}
	})
}

func TestContinueIsTheUpstreams(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/no" {
				w.WriteHeader(417)
				return
			}
			io.Copy(w, r.Body)
		}), protos...)
		_, addr := start(t, Config{DialTLS: dialTo(up)})
		for path, want := range map[string]int{"/yes": 1, "/no": 0} {
			continued := 0
			req, _ := http.NewRequest("POST", "https://"+host+path, strings.NewReader("x"))
			req.Header.Set("Expect", "100-continue")
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued++ }}))
			resp, err := client(t, addr).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if continued != want || len(body) != want {
				t.Errorf("%s: %d times 100, status %d, %q", path, continued, resp.StatusCode, body)
			}
		}
	})
}

func TestCancellationGoesUp(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		gone := make(chan struct{})
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(gone)
		}), protos...)
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://"+host+"/", nil)
		resp, err := client(t, addr).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		resp.Body.Close()
		receive(t, gone)
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || d.Detail != "the client went away" {
			t.Errorf("%+v", d)
		}
	})
}

func TestCancellationComesDown(t *testing.T) {
	both(t, func(t *testing.T, protos ...string) {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), protos...)
		e := newEnforcer()
		_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
		resp, err := client(t, addr).Get("https://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "half" || err == nil {
			t.Errorf("%q %v", body, err)
		}
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure || d.Status != 200 {
			t.Errorf("%+v", d)
		}
	})
}

func TestRecheckCutsWhatMayNotGoOn(t *testing.T) {
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), "h2")
	e := newEnforcer()
	s, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
	c := client(t, addr)
	var streams []*http.Response
	for _, path := range []string{"/stays", "/goes"} {
		resp, err := c.Get("https://" + host + path)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, resp)
	}
	n := s.Recheck(func(c *intent.Call, _ verdict.Decision) verdict.Reason {
		if c.Path == "/goes" {
			return verdict.CapabilityRevoked
		}
		return verdict.None
	})
	if n != 1 {
		t.Errorf("%d cut", n)
	}
	if _, err := io.ReadAll(streams[1].Body); err == nil {
		t.Error("it goes on")
	}
	if d := receive(t, e.ended); d.Abort != verdict.CapabilityRevoked {
		t.Errorf("%+v", d)
	}
	for _, resp := range streams {
		resp.Body.Close()
	}
	receive(t, e.ended)
}

func TestDrainLetsRequestsEnd(t *testing.T) {
	release := make(chan struct{})
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "end")
	}), "h2")
	s, addr := start(t, Config{DialTLS: dialTo(up)})
	resp, err := client(t, addr).Get("https://" + host + "/")
	if err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background()) }()
	select {
	case err := <-drained:
		t.Fatal("drained with a request under way:", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if body, err := io.ReadAll(resp.Body); string(body) != "end" || err != nil {
		t.Errorf("%q %v", body, err)
	}
	resp.Body.Close()
	if err := receive(t, drained); err != nil || s.Conns() != 0 {
		t.Errorf("%v, %d left", err, s.Conns())
	}
}

func TestDrainLosesPatience(t *testing.T) {
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), "h2")
	s, addr := start(t, Config{DialTLS: dialTo(up)})
	resp, err := client(t, addr).Get("https://" + host + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); err == nil || s.Conns() != 0 {
		t.Errorf("%v, %d left", err, s.Conns())
	}
}
