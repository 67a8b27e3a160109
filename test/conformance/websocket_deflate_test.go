package conformance

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"firma/internal/verdict"
)

// window is one offer of permessage-deflate, in both spellings.
type window struct {
	ServerFresh bool `json:"server_no_context_takeover,omitempty"`
	ClientFresh bool `json:"client_no_context_takeover,omitempty"`
	ServerBits  int  `json:"server_max_window_bits,omitempty"`
	ClientBits  int  `json:"client_max_window_bits,omitempty"`
}

// The parameters of class 13, and the sizes of class 12.
var (
	windows = []window{
		{}, {ServerFresh: true}, {ClientFresh: true}, {ServerFresh: true, ClientFresh: true},
		{ServerBits: 9}, {ServerBits: 15}, {ClientBits: 9}, {ClientBits: 15}, {ServerBits: 9, ClientBits: 9, ServerFresh: true, ClientFresh: true},
	}
	sizes = []int{0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072}
)

// TestWebSocketDeflate: two implementations of two languages agree through firma on
// compression as they would without it, and understand each other.
func TestWebSocketDeflate(t *testing.T) {
	js, py := peerOf(external(t, node, "testdata/ws_echo.js", "server").line(t)), peerOf(external(t, python, "testdata/ws_echo.py", "server").line(t))
	count := 0
	for _, w := range ways[:2] {
		for _, pair := range []struct {
			name   string
			client *child
			server string
		}{
			{"node to python", external(t, node, "testdata/ws_echo.js", "client"), py},
			{"python to node", external(t, python, "testdata/ws_echo.py", "client"), js},
		} {
			far := dialer{pair.server, roots}
			if w.tls {
				far = inTLS(t, pair.server)
			}
			x := newWorld(t, w, far)
			port := x.front(t)
			for _, offer := range windows {
				said := pair.client.do(t, task{Port: port, Offer: offer, Messages: sizes})
				count += len(sizes)
				if !strings.Contains(strings.ToLower(said), "deflate") {
					t.Errorf("%s, %s, %+v: %s", pair.name, w.name, offer, said)
				}
				if d := within(t, x.ended); d.Abort != verdict.None {
					t.Errorf("%s, %s, %+v: recorded as %+v", pair.name, w.name, offer, d)
				}
			}
		}
	}
	t.Logf("%d sizes under %d offers each, twice by text and binary, by two pairs and two ways: %d", len(sizes), len(windows), count)
}

func peerOf(port string) string { return "127.0.0.1:" + port }

// deflated is a message as permessage-deflate sends it.
func deflated(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	io.WriteString(w, s)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// TestWebSocketBomb: a message that becomes a hundred times as long is the
// endpoint's to refuse; its Close frame comes back, and firma inflates nothing.
func TestWebSocketBomb(t *testing.T) {
	bomb := raw(fin|rsv1|text, deflated(rep(16<<20)))
	for _, server := range []*child{external(t, node, "testdata/ws_echo.js", "server"), external(t, python, "testdata/ws_echo.py", "server")} {
		addr := peerOf(server.line(t))
		c := wsCase{id: "bomb", frames: []frame{bomb}, pass: 1}
		near, err := direct(addr, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
		if err != nil {
			t.Fatal(err)
		}
		want := put(near, &c, true)
		t.Log(&want)
		for _, w := range ways[:3] {
			far := dialer{addr, roots}
			if w.tls {
				far = inTLS(t, addr)
			}
			x := newWorld(t, w, far)
			_, s, err := x.open("/", http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}})
			if err != nil || s == nil {
				t.Fatal(w.name, err)
			}
			if got := put(s, &c, true); got.code != want.code || got.code <= 1000 || len(got.messages) > 0 {
				t.Errorf("%s: %s, without firma %s", w.name, &got, &want)
			}
			if d := within(t, x.ended); d.Abort != verdict.None || d.RequestBytes > 64<<10 {
				t.Errorf("%s: recorded as %+v", w.name, d)
			}
		}
	}
}

// TestWebSocketBulk is class 9: long messages, in one frame, in many, and in small
// pieces; and many short ones, there and back.
func TestWebSocketBulk(t *testing.T) {
	var cases []wsCase
	for kind, op := range []byte{text, bin} {
		for i, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			cases = append(cases, passes(fmt.Sprintf("9.%d.%d", kind+1, i+1), raw(fin|op, rep(n))))
		}
		for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			cases = append(cases, passes(fmt.Sprintf("9.%d.%d", kind+3, i+1), fragments(op, rep(min(4<<20, n<<12)), n)...))
		}
		for i, n := range []int{64, 128, 256, 512, 1 << 10, 2 << 10} {
			cases = append(cases, chopped(n, passes(fmt.Sprintf("9.%d.%d", kind+5, i+1), raw(fin|op, rep(1<<20)))))
		}
		for i, n := range []int{0, 16, 64, 256, 1 << 10, 4 << 10} {
			var many []frame
			for range 1000 {
				many = append(many, raw(fin|op, rep(n)))
			}
			cases = append(cases, passes(fmt.Sprintf("9.%d.%d", kind+7, i+1), many...))
		}
	}
	t.Logf("%d cases", len(cases))
	for n, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			o := newOrigin(t, w)
			x := newWorld(t, w, o.dialer)
			for i, c := range cases {
				if n == 0 || i%3 == n-1 { // each case by two ways
					x.runRaw(t, o, c, (i/3)%2 == 0, fast)
				}
			}
		})
	}
}
