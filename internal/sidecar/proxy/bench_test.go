//go:build unix

package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"syscall"
	"testing"
	"time"

	"firma/internal/intent"
	"firma/internal/verdict"
)

// allowAll is the cheapest Enforcer there is.
type allowAll struct{}

func (allowAll) Enforce(context.Context, *intent.Call) verdict.Decision {
	return verdict.Decision{Outcome: verdict.Allow, Accepts: verdict.AcceptNonTLS}
}
func (allowAll) Admit(context.Context, *intent.Call) verdict.Decision {
	return verdict.Decision{Outcome: verdict.Allow}
}
func (allowAll) Contactable(*intent.Call) bool { return true }
func (allowAll) OwnTunnel(*intent.Call) bool   { return false }
func (allowAll) Malformed(context.Context, string, string) verdict.Decision {
	return verdict.Decision{}
}
func (allowAll) Refuse(context.Context, *intent.Call, verdict.Decision, verdict.Reason, string) verdict.Decision {
	return verdict.Decision{}
}
func (allowAll) Roomy() bool                           { return true }
func (allowAll) Dispatched(verdict.Decision, Dispatch) {}

const benchReply = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}"

func benchOrigin(b *testing.B) string {
	addr, _ := listen(b, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := io.WriteString(c, benchReply); err != nil {
				return
			}
		}
	})
	return addr
}

func benchProxy(b *testing.B, addr string) string {
	_, proxy := start(b, Config{Enforcer: allowAll{}, Dialer: dialTo(addr), Log: slog.New(slog.DiscardHandler)})
	return proxy
}

// reverseProxy is the standard library's, as a forward proxy.
func reverseProxy(b *testing.B, addr string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialTo(addr).Dial(ctx, "", 0) }}
	rp := &httputil.ReverseProxy{Transport: tr, ErrorLog: log.New(io.Discard, "", 0), FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
	}}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			rp.ServeHTTP(w, r)
			return
		}
		up, err := dialTo(addr).Dial(r.Context(), "", 0)
		if err != nil {
			return
		}
		defer up.Close()
		down, _, _ := http.NewResponseController(w).Hijack()
		defer down.Close()
		io.WriteString(down, established)
		go func() { io.Copy(up, down); up.(*net.TCPConn).CloseWrite() }()
		io.Copy(down, up)
	})}
	done := make(chan struct{})
	go func() { srv.Serve(ln); close(done) }()
	b.Cleanup(func() { srv.Close(); <-done; tr.CloseIdleConnections() })
	return ln.Addr().String()
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// spread runs n operations over some connections and returns wall and CPU time
// of one, origin and clients included.
func spread(n, conns int, worker func(n int)) (wall, cpu time.Duration) {
	t, c := time.Now(), cpuTime()
	var wg sync.WaitGroup
	for i := range conns {
		share := n / conns
		if i < n%conns {
			share++
		}
		wg.Go(func() { worker(share) })
	}
	wg.Wait()
	return time.Since(t) / time.Duration(n), (cpuTime() - c) / time.Duration(n)
}

// compare runs the same work directly, through firma and through the standard
// library, and reports what each adds to the direct CPU time.
func compare(b *testing.B, addr string, conns int, work func(proxy string) func(n int)) {
	ours, theirs := benchProxy(b, addr), reverseProxy(b, addr)
	for _, warm := range []string{addr, ours, theirs} {
		spread(conns*4, conns, work(warm))
	}
	b.ResetTimer()
	_, direct := spread(b.N, conns, work(addr))
	wall, cpu := spread(b.N, conns, work(ours))
	wallStd, cpuStd := spread(b.N, conns, work(theirs))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu-direct)/1e3, "firma-cpu-µs/op")
	b.ReportMetric(float64(cpuStd-direct)/1e3, "std-cpu-µs/op")
	b.ReportMetric(float64(cpuStd-direct)/float64(cpu-direct), "cpu-ratio")
	b.ReportMetric(float64(wall)/1e3, "firma-µs/op")
	b.ReportMetric(float64(wallStd)/1e3, "std-µs/op")
}

const benchReq = "GET http://api.example.com/v1/models HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer abcdef\r\n\r\n"

func BenchmarkKeepAlive(b *testing.B) {
	addr := benchOrigin(b)
	compare(b, addr, 32, func(proxy string) func(int) {
		return func(n int) {
			c, err := net.Dial("tcp", proxy)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			buf := make([]byte, 4096)
			for range n {
				io.WriteString(c, benchReq)
				if _, err := c.Read(buf); err != nil {
					b.Error(err)
					return
				}
			}
		}
	})
}

// BenchmarkConnect opens a tunnel and sends one request through it.
func BenchmarkConnect(b *testing.B) {
	addr := benchOrigin(b)
	compare(b, addr, 32, func(proxy string) func(int) {
		return func(n int) {
			buf := make([]byte, 4096)
			for range n {
				c, err := net.Dial("tcp", proxy)
				if err != nil {
					b.Error(err)
					return
				}
				if proxy != addr {
					io.WriteString(c, connectReq)
					io.ReadFull(c, buf[:len(established)])
				}
				io.WriteString(c, benchReq)
				if _, err := io.ReadFull(c, buf[:len(benchReply)]); err != nil {
					b.Error(err)
				}
				c.Close()
			}
		}
	})
}

// BenchmarkTunnelThroughput carries 64 MiB per operation.
func BenchmarkTunnelThroughput(b *testing.B) {
	const size = 64 << 20
	block := make([]byte, 256<<10)
	addr, _ := listen(b, func(c *net.TCPConn, r *bufio.Reader) {
		r.ReadByte()
		for range size / len(block) {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	b.SetBytes(size)
	compare(b, addr, 1, func(proxy string) func(int) {
		return func(n int) {
			buf := make([]byte, 256<<10)
			for range n {
				c, err := net.Dial("tcp", proxy)
				if err != nil {
					b.Error(err)
					return
				}
				if proxy != addr {
					io.WriteString(c, connectReq)
					io.ReadFull(c, buf[:len(established)])
				}
				io.WriteString(c, "x")
				total := 0
				for total < size {
					m, err := c.Read(buf)
					if err != nil {
						b.Error(err)
						break
					}
					total += m
				}
				c.Close()
			}
		}
	})
}

// BenchmarkIntercepted is BenchmarkKeepAlive inside TLS, with TLS to the origin.
// The origin's and the clients' own TLS is in the direct figure too.
func BenchmarkIntercepted(b *testing.B) {
	w := newIntercepting(b, interceptOptions{cfg: Config{Enforcer: allowAll{}, Log: slog.New(slog.DiscardHandler)}}, func(c net.Conn, r *bufio.Reader) {
		for {
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			if _, err := io.WriteString(c, benchReply); err != nil {
				return
			}
		}
	})
	const request = "GET /v1/models HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer abcdef\r\n\r\n"
	work := func(through bool) func(int) {
		return func(n int) {
			addr := w.origin
			if through {
				addr = w.proxy
			}
			raw, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer raw.Close()
			buf := make([]byte, 4096)
			if through {
				io.WriteString(raw, connectReq)
				io.ReadFull(raw, buf[:len(established)])
			}
			c := tls.Client(raw, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true})
			for range n {
				io.WriteString(c, request)
				if _, err := c.Read(buf); err != nil {
					b.Error(err)
					return
				}
			}
		}
	}
	const conns = 32
	spread(conns*4, conns, work(true))
	b.ResetTimer()
	_, direct := spread(b.N, conns, work(false))
	wall, cpu := spread(b.N, conns, work(true))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(cpu-direct)/1e3, "firma-cpu-µs/op")
	b.ReportMetric(float64(wall)/1e3, "firma-µs/op")
}
