//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"firma/test/load"
)

// pull is what one measurement of throughput carries.
const pull = 512 << 20

const gib = 1 << 30

// direct is the name of the way without a proxy.
const direct = "direct"

// measureProxies compares CPU time per request, tunnel and GiB, throughput and
// latency. In every round each subject has its turn at every measure.
func (e *env) measureProxies() error {
	fmt.Printf("proxies: %d rounds of %v, %d connections; CPU is user+sys of the proxy alone\n", e.rounds, e.time, e.conns)
	all, stop := e.startAll(proxies)
	defer stop()
	t := newTable()
	for i := range e.rounds {
		e.measureDirect(t)
		for _, s := range inTurn(all, i) {
			if s.down {
				continue
			}
			if err := e.measure(s, t); err != nil {
				s.down = true
				fmt.Printf("  %s fails: %v\n", s.name, err)
			}
		}
	}
	time.Sleep(rest)
	for _, s := range all {
		if st, err := load.Look(s.cmd.Process.Pid); err == nil {
			t.add(s.name, "RSS after MB", mb(st.RSS))
		}
	}
	t.print("keep-alive µs", "CONNECT µs", "s/GiB", "req/s", "tunnels/s")
	t.print("of direct", "p50 added µs", "p99 added µs", "RSS after MB")
	return nil
}

// measureInterceptors compares CPU time per request inside TLS.
func (e *env) measureInterceptors() error {
	fmt.Printf("inside TLS: %d rounds of %v; HTTP/1.1 on %d connections, HTTP/2 %d at once on one\n", e.rounds, e.time, e.conns, e.conns)
	all, stop := e.startAll(interceptors)
	defer stop()
	t := newTable()
	for i := range e.rounds + 1 {
		for _, s := range inTurn(all, i) {
			for _, m := range []struct {
				unit, rate string
				run        func(string, int, time.Duration) (load.Result, error)
			}{{"h1 µs", "h1 req/s", s.inside.Inside}, {"h2 µs", "h2 req/s", s.inside.Inside2}} {
				n, cpu, err := s.cost(func() (load.Result, error) { return m.run(inside, e.conns, e.time) })
				if err != nil {
					if i == 0 {
						fmt.Printf("  %s, %s: %v\n", s.name, m.unit, err)
					}
					continue
				}
				if i > 0 { // the first round is for handshakes and certificates
					t.add(s.name, m.unit, micros(cpu)/float64(n.Count))
					t.add(s.name, m.rate, n.Rate())
				}
			}
		}
	}
	t.print("h1 µs", "h2 µs", "h1 req/s", "h2 req/s")
	return nil
}

// inTurn begins with another one in each round: what the one before left behind, such as
// sockets that time out, is then nobody's in particular.
func inTurn(all []*subject, round int) []*subject {
	n := round % max(len(all), 1)
	return append(slices.Clone(all[n:]), all[:n]...)
}

func (e *env) measureDirect(t *table) {
	p := load.Path{Host: e.origin, Tun: e.origin}
	if e.counts(throughput) {
		if d, err := p.Pull(e.hello, pull); err == nil {
			t.now(direct, float64(d))
		}
	}
	if e.counts(latency) {
		if r, err := p.KeepAlive(1, e.time/2, true); err == nil {
			t.now("p50", micros(r.Quantile(.5)))
			t.now("p99", micros(r.Quantile(.99)))
		}
	}
}

// The kinds of traffic.
const (
	requests   = "requests"
	tunnels    = "tunnels"
	throughput = "throughput"
	latency    = "latency"
)

func (e *env) counts(kind string) bool { return slices.Contains(strings.Split(e.kinds, ","), kind) }

func (e *env) measure(s *subject, t *table) error {
	for _, kind := range []struct {
		name string
		run  func(*subject, *table) error
	}{{requests, e.measureRequests}, {tunnels, e.measureTunnels}, {throughput, e.measureThroughput}, {latency, e.measureLatency}} {
		if !e.counts(kind.name) {
			continue
		}
		if err := kind.run(s, t); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) measureRequests(s *subject, t *table) error {
	n, cpu, err := s.cost(func() (load.Result, error) { return s.path.KeepAlive(e.conns, e.time, false) })
	if err != nil {
		return err
	}
	t.add(s.name, "keep-alive µs", micros(cpu)/float64(n.Count))
	t.add(s.name, "req/s", n.Rate())
	return nil
}

func (e *env) measureTunnels(s *subject, t *table) error {
	n, cpu, err := s.cost(func() (load.Result, error) { return s.path.Tunnels(e.hello, e.conns, e.time) })
	if err != nil {
		return err
	}
	t.add(s.name, "CONNECT µs", micros(cpu)/float64(n.Count))
	t.add(s.name, "tunnels/s", n.Rate())
	return nil
}

func (e *env) measureThroughput(s *subject, t *table) error {
	var took time.Duration
	_, cpu, err := s.cost(func() (r load.Result, err error) { took, err = s.path.Pull(e.hello, pull); return r, err })
	if err != nil {
		return err
	}
	t.add(s.name, "s/GiB", cpu.Seconds()*gib/pull)
	t.add(s.name, "of direct", t.last[direct]/float64(took))
	return nil
}

func (e *env) measureLatency(s *subject, t *table) error {
	r, err := s.path.KeepAlive(1, e.time/2, true)
	if err != nil {
		return err
	}
	t.add(s.name, "p50 added µs", micros(r.Quantile(.5))-t.last["p50"])
	t.add(s.name, "p99 added µs", micros(r.Quantile(.99))-t.last["p99"])
	return nil
}

// rest is how long all are left alone before their memory is read: some give it back.
const rest = 5 * time.Second

// settle is how long a proxy has to tidy up before its CPU time is read: what it
// does after the last answer counts, too.
const settle = 60 * time.Millisecond

// cost is what the proxy spent on some traffic.
func (s *subject) cost(traffic func() (load.Result, error)) (load.Result, time.Duration, error) {
	before, err := load.CPU(s.cmd.Process.Pid)
	if err != nil {
		return load.Result{}, 0, err
	}
	r, err := traffic()
	if err != nil {
		return r, 0, err
	}
	time.Sleep(settle)
	after, err := load.CPU(s.cmd.Process.Pid)
	return r, after - before, err
}

func millis(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func micros(d time.Duration) float64 { return float64(d) / 1e3 }

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
