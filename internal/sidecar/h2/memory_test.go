package h2

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/verdict"
)

// accounting tells of every refusal.
type accounting struct {
	*enforcer
	refused chan verdict.Reason
}

func newAccounting() accounting {
	return accounting{newEnforcer(), make(chan verdict.Reason, 10000)}
}

func (a accounting) Refuse(_ context.Context, _ *intent.Call, prior verdict.Decision, r verdict.Reason, detail string) verdict.Decision {
	a.refused <- r
	prior.Outcome, prior.Reason, prior.Detail = verdict.Deny, r, detail
	return prior
}

// TestMemoryOfASession: however many connections fill however many streams, what
// is held stays within the session's allowance. What finds no room is refused, and
// another session does not notice.
func TestMemoryOfASession(t *testing.T) {
	const total = 4 << 20
	arrived := make(chan string, 10000)
	never := make(chan struct{})
	up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		if r.URL.Path == "/x" {
			<-never
		}
		io.Copy(w, r.Body)
	}), "h2")
	t.Cleanup(func() { close(never) }) // before the origin waits for its handlers
	mine := allowance.New(total)
	e := newAccounting()
	s, addr := start(t, Config{Enforcer: e, DialTLS: dialTo(up), Memory: mine, ConnectTimeout: time.Second})
	_, other := start(t, Config{DialTLS: dialTo(up), Memory: allowance.New(total)})

	const conns, streams = 12, 20
	var clients []*raw
	for range conns {
		r := dialRaw(t, addr)
		clients = append(clients, r)
		for i := range streams {
			id := uint32(2*i + 1)
			if err := r.open(id, false, append(postFields, "x-fill", strings.Repeat("h", 1000))...); err != nil {
				t.Fatal(err)
			}
			for range 3 { // the window is not more than it was before the settings were read
				if r.WriteData(id, false, pattern(16<<10)) != nil {
					break // it was disconnected for what it does
				}
			}
		}
	}
	got, refused := 0, 0
	for got+refused < conns*streams {
		select {
		case <-arrived:
			got++
		case reason := <-e.refused:
			if refused++; reason != verdict.SessionMemoryExhausted {
				t.Fatal(reason)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d arrived, %d were refused", got, conns*streams, refused)
		}
		if used := mine.Used(); used > total+1<<20 { // a claim that fails is added for a moment
			t.Fatalf("%d bytes are held", used)
		}
	}
	if got == 0 || refused == 0 {
		t.Fatalf("%d arrived, %d were refused", got, refused)
	}
	resp, err := client(t, other).Post("https://"+host+"/y", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal("another session:", err)
	}
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "hello" {
		t.Errorf("another session: %d %q", resp.StatusCode, body)
	}
	resp.Body.Close()
	for _, r := range clients {
		r.nc.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Drain(ctx)
	if used := mine.Used(); used != 0 {
		t.Errorf("%d bytes are held when all is over", used)
	}
}

// TestNoMemoryIsSaid: the refusal is an answer like any other, whatever was sent.
func TestNoMemoryIsSaid(t *testing.T) {
	one, zero := strings.Repeat("1", 40), strings.Repeat("0", 40)
	push := ""
	for range 1000 {
		push += pkt(one + " " + zero + " refs/heads/x")
	}
	for name, tt := range map[string]struct {
		memory             int64
		method, path, body string
	}{
		"stream":   {1, "GET", "/x", ""},
		"body":     {1, "POST", "/x", "hello"},
		"dispatch": {memOutput + 128<<10, "GET", "/x", ""},
		"push":     {memOutput + 256<<10, "POST", "/o/r.git/git-receive-pack", push + "0000"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newAccounting()
			_, addr := start(t, Config{Enforcer: e, DialTLS: noUpstream(t), Memory: allowance.New(tt.memory), ConnectTimeout: time.Millisecond})
			req, _ := http.NewRequest(tt.method, "https://"+host+tt.path, strings.NewReader(tt.body))
			resp, err := client(t, addr).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 503 || !strings.Contains(string(b), `"SessionMemoryExhausted"`) || resp.Header.Get("Retry-After") != "1" {
				t.Errorf("%d %v %s", resp.StatusCode, resp.Header, b)
			}
			if r := receive(t, e.refused); r != verdict.SessionMemoryExhausted || len(e.refused) > 0 {
				t.Errorf("%s recorded, and %d more", r, len(e.refused))
			}
		})
	}
}

// TestLittleMemoryIsEnough: a large body and a large response pass through a
// session that has little.
func TestLittleMemoryIsEnough(t *testing.T) {
	for _, memory := range []int64{0, 1 << 20} {
		up := origin(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }), "h2")
		_, addr := start(t, Config{DialTLS: dialTo(up), Memory: allowance.New(memory)})
		body := string(pattern(8 << 20))
		resp, err := client(t, addr).Post("https://"+host+"/y", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != body {
			t.Errorf("%d bytes came back: %v", len(got), err)
		}
	}
}
