// Command peers is proxies to measure firma beside, none of which judges or
// records anything:
//
//	peers std       the standard library: ReverseProxy, and CONNECT by io.Copy
//	peers goproxy   github.com/elazarl/goproxy
//	peers std-mitm, goproxy-mitm   likewise, looking into every tunnel
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"

	"github.com/elazarl/goproxy"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: peers std|goproxy|std-mitm|goproxy-mitm ADDR")
	}
	var h http.Handler
	switch os.Args[1] {
	case "std":
		h = standard(splice)
	case "std-mitm":
		h = standard(newInterceptor().serve)
	case "goproxy":
		h = third(false)
	case "goproxy-mitm":
		h = third(true)
	default:
		log.Fatalf("no proxy is called %q", os.Args[1])
	}
	log.Fatal(http.ListenAndServe(os.Args[2], h))
}

// transport connects like a proxy that is used by many clients at once.
func transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true, ForceAttemptHTTP2: true, TLSClientConfig: upstreamTLS()}
}

func standard(tunnel func(net.Conn, string)) http.Handler {
	rp := &httputil.ReverseProxy{Transport: transport(), FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host}) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			rp.ServeHTTP(w, r)
			return
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		tunnel(c, r.Host)
	})
}

const established = "HTTP/1.1 200 Connection Established\r\n\r\n"

func splice(client net.Conn, host string) {
	defer client.Close()
	up, err := net.Dial("tcp", host)
	if err != nil {
		log.Print(err)
		fmt.Fprint(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	defer up.Close()
	if _, err := io.WriteString(client, established); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(up, client)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, up)
}

func third(mitm bool) http.Handler {
	p := goproxy.NewProxyHttpServer()
	p.Logger = log.New(io.Discard, "", 0)
	p.Tr = transport()
	if mitm {
		p.AllowHTTP2 = true
		p.CertStore = newStore()
		p.OnRequest().HandleConnect(goproxy.AlwaysMitm)
	}
	return p
}
