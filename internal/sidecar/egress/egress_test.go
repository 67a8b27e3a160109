package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"firma/internal/verdict"
)

// The event loops of sock stay for good, as many as there are processors.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("firma/internal/sidecar/sock.(*loop).run"))
}

// answers is a resolver that gives one list per question and repeats the last.
type answers struct {
	lists [][]string
	err   error
	asked atomic.Int64
	names []string
}

func (a *answers) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n := int(a.asked.Add(1)) - 1
	a.names = append(a.names, host)
	if a.err != nil {
		return nil, a.err
	}
	var out []netip.Addr
	for _, s := range a.lists[min(n, len(a.lists)-1)] {
		out = append(out, netip.MustParseAddr(s))
	}
	return out, nil
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func noOwn() ([]netip.Addr, error) { return nil, nil }

func dialer(t *testing.T, cfg Config) *Dialer {
	t.Helper()
	if cfg.OwnAddrs == nil {
		cfg.OwnAddrs = noOwn
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func listen(t *testing.T, addr string) (netip.AddrPort, *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("no %s on this machine: %v", addr, err)
	}
	var accepted atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().(*net.TCPAddr).AddrPort(), &accepted
}

func reason(err error) verdict.Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestCheckLiteral(t *testing.T) {
	for _, tt := range []struct {
		name    string
		allowed []netip.Prefix
		addr    string
		ok      bool
	}{
		{"public", nil, "8.8.8.8", true},
		{"public mapped", nil, "::ffff:8.8.8.8", true},
		{"public through NAT64", nil, "64:ff9b::8.8.8.8", true},
		{"loopback", nil, "127.0.0.1", false},
		{"loopback mapped", nil, "::ffff:127.0.0.1", false},
		{"loopback allowed", prefixes("127.0.0.0/8"), "127.0.0.1", true},
		{"mapped spelling of an allowed range", prefixes("127.0.0.0/8"), "::ffff:127.0.0.1", true},
		{"private, other range allowed", prefixes("10.0.0.0/8"), "192.168.0.1", false},
		{"NAT64 of an allowed private address is not that address", prefixes("10.0.0.0/8"), "64:ff9b::10.0.0.1", false},
		{"metadata, all allowed", prefixes("0.0.0.0/0", "::/0"), "169.254.169.254", false},
		{"metadata, link-local allowed", prefixes("169.254.0.0/16"), "169.254.169.254", false},
		{"metadata, /31 allowed", prefixes("169.254.169.254/31"), "169.254.169.254", false},
		{"metadata, exactly allowed", prefixes("169.254.169.254/32"), "169.254.169.254", true},
		{"metadata mapped, exactly allowed", prefixes("169.254.169.254/32"), "::ffff:169.254.169.254", true},
		{"metadata v6, wide", prefixes("fd00::/8"), "fd00:ec2::254", false},
		{"metadata v6, exact", prefixes("fd00:ec2::254/128"), "fd00:ec2::254", true},
		{"metadata in 6to4, all allowed", prefixes("::/0"), "2002:a9fe:a9fe::", false},
		{"unspecified, even listed", prefixes("0.0.0.0/32", "0.0.0.0/0"), "0.0.0.0", false},
		{"unspecified v6, even listed", prefixes("::/128"), "::", false},
		{"multicast, even listed", prefixes("224.0.0.0/4"), "224.0.0.1", false},
		{"zone", nil, "2606:4700::1%lo", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := dialer(t, Config{Allowed: tt.allowed}).CheckLiteral(netip.MustParseAddr(tt.addr), 80)
			if (err == nil) != tt.ok {
				t.Fatalf("CheckLiteral(%s) = %v, want ok %v", tt.addr, err, tt.ok)
			}
			if err != nil && err.Reason != verdict.DestinationForbidden {
				t.Errorf("reason %q", err.Reason)
			}
		})
	}
	d := dialer(t, Config{})
	if err := d.CheckLiteral(netip.MustParseAddr("8.8.8.8"), 0); err == nil {
		t.Error("port 0 passes")
	}
	if err := d.CheckLiteral(netip.Addr{}, 80); err == nil {
		t.Error("the zero address passes")
	}
}

func TestEveryNonPublicClassIsRefused(t *testing.T) {
	d := dialer(t, Config{Resolver: &answers{}})
	for _, tt := range classTable {
		err := d.CheckLiteral(netip.MustParseAddr(tt.addr), 443)
		if (err == nil) != (tt.want == Public) {
			t.Errorf("%s (%v): %v", tt.addr, tt.want, err)
		}
	}
}

func TestOwnAddressesAreRefused(t *testing.T) {
	own := netip.MustParseAddr("8.8.4.4")
	cfg := Config{OwnAddrs: func() ([]netip.Addr, error) { return []netip.Addr{own}, nil }}
	if err := dialer(t, cfg).CheckLiteral(own, 22); err == nil {
		t.Error("the host's own public address passes")
	}
	cfg.Allowed = prefixes("8.8.4.4/32")
	if err := dialer(t, cfg).CheckLiteral(own, 22); err != nil {
		t.Error(err)
	}
	unreadable := dialer(t, Config{OwnAddrs: func() ([]netip.Addr, error) { return nil, errors.New("no") }})
	if err := unreadable.CheckLiteral(own, 22); err == nil {
		t.Error("passes although the host's addresses are unknown")
	}
}

func TestInterfaceAddrsHoldLoopback(t *testing.T) {
	addrs, err := interfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.IsLoopback() {
			return
		}
	}
	t.Errorf("no loopback among %v", addrs)
}

func TestDialDialsTheCheckedAddress(t *testing.T) {
	to, accepted := listen(t, "127.0.0.1:0")
	r := &answers{lists: [][]string{{"127.0.0.1"}, {"127.0.0.2"}, {"10.0.0.1"}}}
	d := dialer(t, Config{Allowed: prefixes("127.0.0.1/32"), Resolver: r})
	conn, err := d.Dial(t.Context(), "api.example.com", to.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().(*net.TCPAddr).AddrPort(); got != to {
		t.Errorf("connected to %v, checked %v", got, to)
	}
	if r.asked.Load() != 1 {
		t.Errorf("one dial asked %d times", r.asked.Load())
	}
	for range 2 { // the name now answers otherwise
		if _, err := d.Dial(t.Context(), "api.example.com", to.Port()); reason(err) != verdict.DestinationForbidden {
			t.Errorf("rebound name: %v", err)
		}
	}
	if diff := cmp.Diff([]string{"api.example.com.", "api.example.com.", "api.example.com."}, r.names); diff != "" {
		t.Error("lookups must be rooted:", diff)
	}
	if accepted.Load() > 1 {
		t.Error("a refused name was dialled")
	}
}

func TestOneForbiddenAnswerRefusesTheName(t *testing.T) {
	to, accepted := listen(t, "127.0.0.1:0")
	for _, list := range [][]string{{"127.0.0.1", "10.0.0.1"}, {"10.0.0.1", "127.0.0.1"}, {"127.0.0.1", "::ffff:169.254.169.254"}} {
		d := dialer(t, Config{Allowed: prefixes("127.0.0.0/8"), Resolver: &answers{lists: [][]string{list}}})
		_, err := d.Dial(t.Context(), "mixed.example.com", to.Port())
		if reason(err) != verdict.DestinationForbidden || !strings.Contains(err.Error(), "mixed.example.com resolves to") {
			t.Errorf("%v: %v", list, err)
		}
	}
	if accepted.Load() != 0 {
		t.Error("dialled before all answers were checked")
	}
}

func TestHostsOverride(t *testing.T) {
	to, _ := listen(t, "127.0.0.1:0")
	r := &answers{err: errors.New("must not be asked")}
	d := dialer(t, Config{Resolver: r, Hosts: map[string]Override{
		"api.example.com": {Addr: to.Addr(), Port: to.Port()}, "metadata.google.internal": {Addr: to.Addr()},
		"203.0.113.7": {Addr: to.Addr(), Port: to.Port()},
	}})
	for host, port := range map[string]uint16{"api.example.com": 443, "metadata.google.internal": to.Port(), "203.0.113.7": 80, "::ffff:203.0.113.7": 80} {
		conn, err := d.Dial(t.Context(), host, port)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
	}
	if err := d.CheckLiteral(netip.MustParseAddr("203.0.113.7"), 80); err != nil {
		t.Error(err)
	}
	if err := d.CheckLiteral(netip.MustParseAddr("127.0.0.1"), to.Port()); err == nil {
		t.Error("an override for a name opened its address as a literal")
	}
	if r.asked.Load() != 0 {
		t.Error("an overridden host was resolved")
	}
}

func TestMetadataNames(t *testing.T) {
	r := &answers{lists: [][]string{{"8.8.8.8"}}}
	d := dialer(t, Config{Resolver: r, Allowed: prefixes("0.0.0.0/0")})
	for _, host := range append([]string{"x.metadata.google.internal"}, metadataNames...) {
		if _, err := d.Dial(t.Context(), host, 80); reason(err) != verdict.DestinationForbidden {
			t.Errorf("%s: %v", host, err)
		}
	}
	if d.CheckName("metadata.google.internal.example.com") != nil || d.CheckName("api.example.com") != nil {
		t.Error("an ordinary name is taken for a metadata service")
	}
	if r.asked.Load() != 0 {
		t.Error("a metadata name was resolved")
	}
}

func TestForbiddenEndpoints(t *testing.T) {
	to, accepted := listen(t, "127.0.0.1:0")
	d := dialer(t, Config{
		Allowed: prefixes("127.0.0.0/8"), Forbidden: []netip.AddrPort{to},
		Hosts: map[string]Override{"self.example.com": {Addr: to.Addr()}},
	})
	for _, host := range []string{"127.0.0.1", "self.example.com"} {
		if _, err := d.Dial(t.Context(), host, to.Port()); reason(err) != verdict.DestinationForbidden {
			t.Errorf("%s: %v", host, err)
		}
	}
	if accepted.Load() != 0 {
		t.Error("firma's own endpoint was dialled")
	}
}

func TestDialFailures(t *testing.T) {
	refused, _ := listen(t, "127.0.0.1:0")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().(*net.TCPAddr).AddrPort()
	free.Close()
	local := prefixes("127.0.0.0/8")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		r    Resolver
		port uint16
		want verdict.Reason
	}{
		{"nothing listens", t.Context(), &answers{lists: [][]string{{"127.0.0.1"}}}, closed.Port(), verdict.ConnectorFailure},
		{"nothing listens on both", t.Context(), &answers{lists: [][]string{{"127.0.0.1", "127.0.0.2"}}}, closed.Port(), verdict.ConnectorFailure},
		{"no such name", t.Context(), &answers{err: &net.DNSError{IsNotFound: true}}, 80, verdict.ConnectorFailure},
		{"resolver times out", t.Context(), &answers{err: &net.DNSError{IsTimeout: true}}, 80, verdict.ConnectorTimeout},
		{"resolver fails", t.Context(), &answers{err: errors.New("x")}, 80, verdict.ConnectorFailure},
		{"no answers", t.Context(), &answers{lists: [][]string{{}}}, 80, verdict.ConnectorFailure},
		{"deadline", t.Context(), &answers{err: context.DeadlineExceeded}, 80, verdict.ConnectorTimeout},
		{"canceled", gone, &answers{lists: [][]string{{"127.0.0.1"}}}, refused.Port(), verdict.ConnectorFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dialer(t, Config{Allowed: local, Resolver: tt.r}).Dial(tt.ctx, "a.example.com", tt.port)
			if reason(err) != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestSecondAddressIsTriedWhenTheFirstFails(t *testing.T) {
	to, _ := listen(t, "127.0.0.1:0")
	r := &answers{lists: [][]string{{"127.0.0.9", "127.0.0.1"}}}
	conn, err := dialer(t, Config{Allowed: prefixes("127.0.0.0/8"), Resolver: r}).Dial(t.Context(), "a.example.com", to.Port())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestRaceStartsTheNextWhenOneHangs(t *testing.T) {
	hung := make(chan struct{})
	dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.Port() == 1 {
			<-ctx.Done()
			close(hung)
			return nil, ctx.Err()
		}
		a, b := net.Pipe()
		b.Close()
		return a, nil
	}
	conn, err := race(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")}, dial)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-hung // the loser is cancelled
}

func TestRaceReturnsTheFirstError(t *testing.T) {
	dial := func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
		if to.Port() == 1 {
			return nil, syscall.EHOSTUNREACH
		}
		return nil, syscall.ECONNREFUSED
	}
	_, err := race(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")}, dial)
	if !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Error(err)
	}
}

func TestInterleave(t *testing.T) {
	var in, want []netip.AddrPort
	for _, s := range []string{"1.1.1.1", "1.1.1.2", "2606::1", "1.1.1.3", "2606::2"} {
		in = append(in, netip.AddrPortFrom(netip.MustParseAddr(s), 1))
	}
	for _, s := range []string{"2606::1", "1.1.1.1", "2606::2", "1.1.1.2", "1.1.1.3"} {
		want = append(want, netip.AddrPortFrom(netip.MustParseAddr(s), 1))
	}
	if diff := cmp.Diff(want, interleave(in), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"mapped prefix":      {Allowed: prefixes("::ffff:10.0.0.0/104")},
		"zero prefix":        {Allowed: []netip.Prefix{{}}},
		"override, no addr":  {Hosts: map[string]Override{"a": {}}},
		"override, wildcard": {Hosts: map[string]Override{"a": {Addr: netip.MustParseAddr("0.0.0.0")}}},
		"override, zone":     {Hosts: map[string]Override{"a": {Addr: netip.MustParseAddr("fe80::1%lo")}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
