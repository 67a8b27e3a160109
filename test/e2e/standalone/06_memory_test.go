package standalone

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// hostile fills whatever a Sidecar lets it fill, over one connection: a hundred
// HTTP/2 streams, of which one half sends a body that nobody reads and the other
// asks for a response that it does not read. It returns once each of them was
// refused or is stuck, with what was refused.
func (d *side) hostile(t *testing.T, keep *sync.Map) (refused int, err error) {
	raw, err := net.Dial("tcp", d.addr)
	if err != nil {
		return 0, err
	}
	keep.Store(raw, true)
	_ = raw.SetDeadline(time.Now().Add(3 * deadline))
	fmt.Fprintf(raw, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(raw), nil)
	if err != nil || res.StatusCode != 200 {
		return 0, fmt.Errorf("CONNECT: %v, %v", res, err)
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: "example.com", NextProtos: []string{"h2"}})
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var b strings.Builder
	enc := hpack.NewEncoder(&b)
	piece := make([]byte, 16<<10)
	for i := range 100 {
		method, path := "POST", "/hang"
		if i%2 == 0 {
			method, path = "GET", "/flood"
		}
		b.Reset()
		for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "example.com"}, {":path", path}, {"x-fill", strings.Repeat("f", 2000)}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		id := uint32(2*i + 1)
		if fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(b.String()), EndHeaders: true, EndStream: method == "GET"}) != nil {
			return refused, nil // it was thrown out
		}
		for range 3 {
			if method == "POST" && fr.WriteData(id, false, piece) != nil {
				return refused, nil
			}
		}
	}
	// A GET that came through has a head; what was refused has one of 503.
	for answered := 0; answered < 50; {
		f, err := fr.ReadFrame()
		if err != nil {
			return refused, nil
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.PseudoValue("status") == "503" {
				refused++
			}
			if f.StreamID%4 == 1 {
				answered++
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode == http2.ErrCodeRefusedStream {
				if refused++; f.StreamID%4 == 1 {
					answered++
				}
			}
		case *http2.GoAwayFrame:
			return refused, nil
		}
	}
	return refused, nil
}

var collected = regexp.MustCompile(`gc \d+ @.* \d+->\d+->(\d+) MB,`)

// live is the largest live heap that the Sidecar's collector reported, in MiB. Every
// collection is reported.
func (d *side) live() (most int) {
	for _, m := range collected.FindAllStringSubmatch(d.err.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return most
}

// TestHostileMemory: the agent of one session can't make a Sidecar hold more than
// total_body_budget, however many connections it opens, and the run of another
// session is served meanwhile.
func TestHostileMemory(t *testing.T) {
	over := make(chan struct{})
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			select {
			case <-r.Context().Done():
			case <-over:
			}
		case "/flood":
			for piece := make([]byte, 32<<10); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		default:
			_, _ = io.WriteString(w, "served")
		}
	}))
	o.EnableHTTP2 = true
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.StartTLS()
	defer o.Close()
	defer close(over)
	everyone(t, func(t *testing.T, s *stage) {
		s.write("rules.toml", rules+"\n[[rules]]\nmethod = \"GET\"\nhost = \"example.com\"\npath = \"/**\"\naction_class = \"code.read\"\n\n[[rules]]\nmethod = \"POST\"\nhost = \"example.com\"\npath = \"/**\"\naction_class = \"code.write\"\n")
		root := s.write("root.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw})))
		for _, tt := range []struct {
			budget, conns int // MiB
			within        bool
		}{{24, 40, true}, {400, 10, false}} {
			t.Run(fmt.Sprintf("%d MiB", tt.budget), func(t *testing.T) {
				s := &stage{s.World, t, s.origin, s.serial}
				c := s.plane("")
				_, url := c.serve()
				config := c.led(anyPort+fmt.Sprintf("\ntotal_body_budget = \"%dMiB\"\nconnect_relay = { setup_timeout = \"2s\" }", tt.budget), url)
				config = strings.Replace(config, "[sidecar.egress.hosts]\n", fmt.Sprintf("[sidecar.egress]\nca_cert_path = %q\n[sidecar.egress.hosts]\n\"example.com\" = %q\n", root, o.Listener.Addr()), 1)
				config += fmt.Sprintf("[sidecar.capability_seed]\npaths = [%q]\n", c.issue("s-1"))
				d := &side{s: s, state: s.fresh("state"), health: free(t), config: s.write("side.toml", config)}
				d.process = s.start(d.state, []string{"GODEBUG=gctrace=1", "GOGC=25"}, "sidecar", "-c", d.config, "--health-bind-addr", d.health)
				d.says("msg=ready")
				d.addr = listening.FindStringSubmatch(d.err.String())[1]
				d.listen = "tcp://" + d.addr
				other := s.agent(d, nil)
				other.wantCurl(t, "https://example.com/", "200 served")
				idle := d.live()

				var keep sync.Map
				var refused atomic.Int64
				var wg sync.WaitGroup
				for range tt.conns {
					wg.Go(func() {
						n, err := d.hostile(t, &keep)
						if err != nil {
							t.Error(err)
						}
						refused.Add(int64(n))
					})
				}
				other.wantCurl(t, "https://example.com/", "200 served")
				wg.Wait()
				for range 5 {
					other.wantCurl(t, "https://example.com/", "200 served")
				}
				most := d.live()
				t.Logf("live heap: %d MiB before, %d MiB at most, %d requests refused", idle, most, refused.Load())
				// 64 KiB for each connection, and some for the other session.
				if bound := idle + tt.budget + tt.conns/16 + 8; tt.within && (most > bound || refused.Load() == 0) {
					t.Errorf("%d MiB are live at %d of budget and %d before, bound %d; %d refused", most, tt.budget, idle, bound, refused.Load())
				}
				if !tt.within && most < 100 {
					t.Errorf("the attack is none: %d MiB", most)
				}
				keep.Range(func(k, _ any) bool { return k.(net.Conn).Close() == nil })
				other.leave()
				d.signal(syscall.SIGTERM)
				d.wantEnd(0)
				d.wantSealed()
				n := 0
				for _, e := range d.events() {
					if e.Reason == "SessionMemoryExhausted" {
						n++
					}
				}
				if tt.within && n == 0 {
					t.Error("no refusal is recorded")
				}
			})
		}
	})
}
