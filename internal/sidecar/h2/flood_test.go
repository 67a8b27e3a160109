package h2

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"firma/internal/intent"
	"firma/internal/verdict"
)

func denyAll(*intent.Call) verdict.Decision { return verdict.Decision{Outcome: verdict.Deny} }

// TestFloods: a client that makes work without end is disconnected, that is
// audited once, and other connections don't notice.
func TestFloods(t *testing.T) {
	const many = 1 << 20
	for _, tt := range []struct {
		name  string
		flood func(r *raw) // until an error
		why   string
	}{
		{"rapid reset", func(r *raw) {
			for id := uint32(1); id < 2*many; id += 2 {
				if r.open(id, true, getFields...) != nil || r.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"ping", func(r *raw) {
			for range many {
				if r.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"settings", func(r *raw) {
			for range many {
				if r.WriteSettings() != nil {
					return
				}
			}
		}, "carry nothing"},
		{"settings with many values", func(r *raw) {
			s := make([]http2.Setting, 2000)
			for i := range s {
				s[i] = http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)}
			}
			for range many {
				if r.WriteSettings(s...) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"priority", func(r *raw) {
			for range many {
				if r.WritePriority(5, http2.PriorityParam{StreamDep: 3}) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"unknown frames", func(r *raw) {
			for range many {
				if r.WriteRawFrame(0x77, 0, 0, nil) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"window updates", func(r *raw) {
			for range many {
				if r.WriteWindowUpdate(0, 1) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"empty data", func(r *raw) {
			r.open(1, false, postFields...)
			for range many {
				if r.WriteData(1, false, nil) != nil {
					return
				}
			}
		}, "carry nothing"},
		{"padding only", func(r *raw) {
			r.open(1, false, postFields...)
			for range many {
				if r.WriteDataPadded(1, false, nil, make([]byte, 255)) != nil {
					return
				}
			}
		}, ""},
		{"continuation", func(r *raw) {
			r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(getFields...)})
			for range many {
				if r.WriteContinuation(1, false, nil) != nil {
					return
				}
			}
		}, "header block is too large"},
		{"large continuation", func(r *raw) {
			r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(getFields...)})
			for range many {
				if r.WriteContinuation(1, false, make([]byte, 16000)) != nil {
					return
				}
			}
		}, "header block is too large"},
		{"refused requests", func(r *raw) {
			for id := uint32(1); id < 2*many; id += 2 {
				if r.open(id, true, ":method", "GET", "X", "y") != nil {
					return
				}
			}
		}, "carry nothing"},
		{"data nobody asked for", func(r *raw) {
			r.open(1, false, postFields...)
			for range many {
				if r.WriteData(1, false, make([]byte, 16000)) != nil {
					return
				}
			}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnforcer()
			s, addr := start(t, Config{Enforcer: e})
			e.decide = func(c *intent.Call) verdict.Decision {
				if c.Method == "POST" { // stays open for as long as the client is there
					return verdict.Decision{Outcome: verdict.Allow}
				}
				return denyAll(c)
			}
			s.cfg.DialTLS = dialTo(hang(t))
			other := client(t, addr)
			get(t, other, "/before")
			r := dialRaw(t, addr)
			go io.Copy(io.Discard, r.nc)
			tt.flood(r)
			if resp, _ := get(t, other, "/after"); resp.StatusCode != 403 {
				t.Error(resp.Status)
			}
			bad := 0
			for _, line := range e.take() {
				if strings.HasPrefix(line, "malformed https: HTTP/2: ") {
					if bad++; !strings.Contains(line, tt.why) {
						t.Error(line)
					}
				}
			}
			if bad != 1 {
				t.Errorf("audited %d times", bad)
			}
		})
	}
}

// hang is an upstream that reads heads and nothing else.
func hang(t testing.TB) string {
	return origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), "h2")
}

// TestClientThatReadsNothing: answers that the protocol demands are not collected
// without end.
func TestClientThatReadsNothing(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, IdleTimeout: 300 * time.Millisecond})
	r := dialRaw(t, addr)
	for r.WritePing(false, [8]byte{}) == nil {
	}
}

// TestHeaderBomb: a small block that decodes to a huge list.
func TestHeaderBomb(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: noUpstream(t)})
	r := dialRaw(t, addr)
	b := r.block(append(append([]string{}, getFields...), "x", strings.Repeat("v", 3000))...)
	b = append(b, bytes.Repeat([]byte{0x80 | 62}, 10000)...) // the last field, 10,000 times more
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b, EndStream: true, EndHeaders: true})
	if got := r.outcome(1); got != "403" {
		t.Error(got)
	}
}

func TestTooManyStreams(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(hang(t)), MaxStreams: 3})
	r := dialRaw(t, addr)
	for id := uint32(1); id <= 7; id += 2 {
		r.open(id, true, getFields...)
	}
	if got := r.outcome(7); got != "RST REFUSED_STREAM" {
		t.Error(got)
	}
	r.nc.Close()
	for range 3 {
		receive(t, e.ended)
	}
}

func TestSlowHeaderBlock(t *testing.T) {
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, HeadTimeout: 50 * time.Millisecond})
	r := dialRaw(t, addr)
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(getFields...)})
	if got := r.outcome(1); got != "GOAWAY ENHANCE_YOUR_CALM" {
		t.Error(got)
	}
	if log := e.take(); len(log) != 1 || !strings.Contains(log[0], "did not arrive in time") {
		t.Errorf("%q", log)
	}
}

func TestIdleConnection(t *testing.T) {
	e := newEnforcer()
	e.decide = denyAll
	_, addr := start(t, Config{Enforcer: e, IdleTimeout: 50 * time.Millisecond})
	r := dialRaw(t, addr)
	r.open(1, true, getFields...)
	if got := r.outcome(1); got != "403" {
		t.Error(got)
	}
	if got := r.outcome(3); got != "GOAWAY NO_ERROR" {
		t.Error(got)
	}
}

// TestStalledStreams: streams whose client takes nothing wait, with what fits in
// a window, and others on the same connection go on; then they are cut.
func TestStalledStreams(t *testing.T) {
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			return
		}
		io.Copy(w, endless{})
	}), "h2")
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up), StreamIdle: 4 * time.Second}) // /small must not take that long
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := dialRaw(t, addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	const stalled = 50
	for i := range stalled {
		r.open(uint32(2*i+1), true, getFields...)
	}
	r.open(101, true, ":method", "GET", ":scheme", "https", ":authority", host, ":path", "/small")
	if got := r.outcome(101); got != "200" {
		t.Error(got)
	}
	if got := r.outcome(1); got != "RST CANCEL" && got != "200 RST CANCEL" {
		t.Error(got)
	}
	runtime.ReadMemStats(&after)
	if used := int64(after.HeapAlloc) - int64(before.HeapAlloc); used > stalled*4*upstreamWindow {
		t.Errorf("%d MiB for %d stalled streams", used>>20, stalled)
	}
	for range stalled + 1 {
		if d := receive(t, e.ended); d.Abort != verdict.None && d.Abort != verdict.ConnectorTimeout {
			t.Errorf("%+v", d)
		}
	}
}

// TestStalledUpload: an upload that the upstream does not take holds at most a
// window, and the connection's other streams go on.
func TestStalledUpload(t *testing.T) {
	release := make(chan struct{})
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-release
		}
	}), "http/1.1")
	defer close(release)
	e := newEnforcer()
	_, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up)})
	c := client(t, addr)
	body := &counting{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, _ := http.NewRequest("POST", "https://"+host+"/", io.LimitReader(body, 1<<30))
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	for range 20 {
		if resp, _ := get(t, c, "/x"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	release <- struct{}{}
	<-done
	if n := body.n.Load(); n > 64<<20 {
		t.Errorf("%d MiB were taken from the client", n>>20)
	}
}

type counting struct{ n atomic.Int64 }

func (c *counting) Read(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
