package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Path is a way to a destination: through a proxy, or straight to it.
type Path struct {
	Proxy string // "host:port" of the proxy; "" for none
	Auth  string // value of Proxy-Authorization; "" for none
	Host  string // destination of requests, as in a URL
	Tun   string // destination of tunnels, "host:port"
}

// ThroughEnv is the way that the value of HTTP_PROXY names.
func ThroughEnv(proxy, host, tun string) (Path, error) {
	u, err := url.Parse(proxy)
	if err != nil || u.Host == "" {
		return Path{}, fmt.Errorf("%q is no proxy URL", proxy)
	}
	p := Path{Proxy: u.Host, Host: host, Tun: tun}
	if u.User != nil {
		p.Auth = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.String()))
	}
	return p, nil
}

func (p Path) auth() string {
	if p.Auth == "" {
		return ""
	}
	return "Proxy-Authorization: " + p.Auth + "\r\n"
}

// Request is a GET as an API client sends it.
func (p Path) Request(path string) []byte {
	target := path
	if p.Proxy != "" {
		target = "http://" + p.Host + path
	}
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + p.Host + "\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nAuthorization: Bearer abcdef\r\n" + p.auth() + "\r\n")
}

func (p Path) dial() (net.Conn, error) {
	addr := p.Proxy
	if addr == "" {
		addr = p.Host
	}
	c, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

// patience bounds everything that a client waits for.
const patience = 20 * time.Second

// Open opens a tunnel and returns it with what was read too far.
func (p Path) Open() (net.Conn, *bufio.Reader, error) {
	c, err := p.dial()
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(c, 1024)
	if p.Proxy == "" {
		return c, in, nil
	}
	if _, err = io.WriteString(c, "CONNECT "+p.Tun+" HTTP/1.1\r\nHost: "+p.Tun+"\r\n"+p.auth()+"\r\n"); err == nil {
		var r response
		if err = r.read(in, true); err == nil && r.status != 200 {
			err = fmt.Errorf("CONNECT %s: status %d", p.Tun, r.status)
		}
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, in, nil
}

// Ping opens a tunnel, begins it as TLS does and has one exchange through it.
func (p Path) Ping(hello []byte) (net.Conn, error) {
	c, in, err := p.Open()
	if err != nil {
		return nil, err
	}
	var got [len(pong)]byte
	if _, err = c.Write(append(slices.Clip(hello), ping)); err == nil {
		_, err = io.ReadFull(in, got[:])
	}
	if err == nil && string(got[:]) != pong {
		err = errors.New("a tunnel changed what it carries")
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Pull has n bytes sent through a new tunnel and returns how long they took.
func (p Path) Pull(hello []byte, n int64) (time.Duration, error) {
	c, in, err := p.Open()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	start := time.Now()
	cmd := binary.BigEndian.AppendUint64(append(slices.Clip(hello), send), uint64(n))
	if _, err := c.Write(cmd); err != nil {
		return 0, err
	}
	got := int64(in.Buffered())
	for buf := make([]byte, block); got < n; {
		m, err := c.Read(buf)
		if err != nil {
			return 0, err
		}
		got += int64(m)
	}
	return time.Since(start), nil
}

// Hello is what a TLS client for host sends first.
func Hello(host string) []byte {
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: host, NextProtos: []string{"h2", "http/1.1"}}).Handshake()
		here.Close()
	}()
	buf := make([]byte, 16<<10)
	n, _ := there.Read(buf)
	return buf[:n]
}

// Result is what clients saw.
type Result struct {
	Count     int
	Elapsed   time.Duration
	Latencies []time.Duration // sorted; only where asked for
}

// Rate is how many operations there were per second.
func (r Result) Rate() float64 { return float64(r.Count) / r.Elapsed.Seconds() }

// Quantile is the latency that a share q of all had at most.
func (r Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[int(q*float64(len(r.Latencies)-1))]
}

// KeepAlive sends requests one after the other on each of n connections for d. A
// connection that the other side ends is replaced.
func (p Path) KeepAlive(n int, d time.Duration, timed bool) (Result, error) {
	req := p.Request("/v1/models")
	return during(n, d, timed, func(w *worker) error {
		kept := w.c != nil
		r, err := p.get(w, req)
		if err != nil && kept { // some end a connection without having said so
			w.drop()
			r, err = p.get(w, req)
		}
		if err != nil {
			return err
		}
		if r.status != 200 {
			return fmt.Errorf("GET %s: status %d", p.Host, r.status)
		}
		if r.close {
			w.drop()
		}
		return nil
	})
}

func (p Path) get(w *worker, req []byte) (r response, err error) {
	if w.c == nil {
		if w.c, err = p.dial(); err != nil {
			return r, err
		}
		w.in = bufio.NewReaderSize(w.c, 4096)
	}
	if _, err = w.c.Write(req); err == nil {
		err = r.read(w.in, false)
	}
	return r, err
}

// Tunnels opens, uses and closes tunnels one after the other in n workers for d.
func (p Path) Tunnels(hello []byte, n int, d time.Duration) (Result, error) {
	return during(n, d, false, func(*worker) error {
		c, err := p.Ping(hello)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

type worker struct {
	c  net.Conn
	in *bufio.Reader
}

func (w *worker) drop() {
	if w.c != nil {
		w.c.Close()
		w.c = nil
	}
}

func during(n int, d time.Duration, timed bool, op func(*worker) error) (Result, error) {
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		res  Result
		errs error
	)
	start := time.Now()
	end := start.Add(d)
	for range n {
		wg.Go(func() {
			var w worker
			var count int
			var lat []time.Duration
			var err error
			for before := time.Now(); before.Before(end) && err == nil; {
				err = op(&w)
				now := time.Now()
				if timed {
					lat = append(lat, now.Sub(before))
				}
				before = now
				count++
			}
			w.drop()
			mu.Lock()
			defer mu.Unlock()
			res.Count += count
			res.Latencies = append(res.Latencies, lat...)
			if err != nil && errs == nil {
				errs = err
			}
		})
	}
	wg.Wait()
	res.Elapsed = time.Since(start)
	slices.Sort(res.Latencies)
	return res, errs
}

// response is what matters of the head of a response.
type response struct {
	status int
	length int
	close  bool
}

// read reads a response, without its body if it has none.
func (r *response) read(in *bufio.Reader, headOnly bool) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 12 {
		return fmt.Errorf("%q is no status line", line)
	}
	r.close = bytes.HasPrefix(line, []byte("HTTP/1.0"))
	if r.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return err
	}
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if r.length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		case bytes.EqualFold(name, []byte("connection")):
			r.close = bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return errors.New("a proxy changed the framing")
		}
	}
	if headOnly {
		return nil
	}
	_, err = in.Discard(r.length)
	return err
}
