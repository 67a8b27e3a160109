package h2

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkRequest is one small request at a time, everything included: client,
// firma and the origin in one process.
func BenchmarkRequest(b *testing.B) {
	benchmark(b, 1)
}

// BenchmarkRequests is as many as there are cores times eight.
func BenchmarkRequests(b *testing.B) { benchmark(b, 8) }

func benchmark(b *testing.B, parallel int) {
	up := origin(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }), "h2")
	e := newEnforcer()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-e.ended:
			case <-stop:
				return
			}
		}
	}()
	_, addr := start(b, Config{Enforcer: e, DialTLS: dialTo(up)})
	for _, way := range []struct{ name, addr string }{{"direct", up}, {"firma", addr}} {
		b.Run(way.name, func(b *testing.B) {
			c := client(b, way.addr)
			get(b, c, "/x")
			b.ReportAllocs()
			b.SetParallelism(parallel)
			if parallel == 1 {
				for b.Loop() {
					get(b, c, "/x")
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					get(b, c, "/x")
				}
			})
		})
	}
}

// BenchmarkDownload is a large body.
func BenchmarkDownload(b *testing.B) {
	const size = 64 << 20
	up := origin(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, io.LimitReader(endless{}, size)) }), "h2")
	_, addr := start(b, Config{DialTLS: dialTo(up)})
	for _, way := range []struct{ name, addr string }{{"direct", up}, {"firma", addr}} {
		b.Run(way.name, func(b *testing.B) {
			c := client(b, way.addr)
			b.SetBytes(size)
			for b.Loop() {
				resp, err := c.Get("https://" + host + "/")
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
