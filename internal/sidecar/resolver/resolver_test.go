package resolver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"firma/internal/intent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is the Refused callback of a test.
type recorder struct {
	mu   sync.Mutex
	list []string
}

func (r *recorder) refused(_ context.Context, name, qtype string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, qtype+" "+name)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.list
	r.list = nil
	return out
}

func routable(host string) bool {
	return host == "api.example.com" || strings.HasSuffix(host, ".wild.example.com")
}

func newResolver(t testing.TB, cfg Config) (*Resolver, *recorder) {
	t.Helper()
	rec := &recorder{}
	if cfg.Routable == nil {
		cfg.Routable = routable
	}
	if cfg.Refused == nil {
		cfg.Refused = rec.refused
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, rec
}

func ask(name string, typ dnsmessage.Type) []byte {
	return askWith(dnsmessage.Header{ID: 7, RecursionDesired: true}, dnsmessage.Question{
		Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET})
}

func askWith(h dnsmessage.Header, qs ...dnsmessage.Question) []byte {
	m := dnsmessage.Message{Header: h, Questions: qs}
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// exchange answers one packet as TCP would, without a socket.
func exchange(t testing.TB, r *Resolver, packet []byte) *dnsmessage.Message {
	t.Helper()
	out, err := r.answerTCP(context.Background(), packet, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out == nil {
		return nil
	}
	var m dnsmessage.Message
	if err := m.Unpack(out); err != nil {
		t.Fatalf("own answer does not parse: %v", err)
	}
	return &m
}

// summary is what a client learns from an answer.
func summary(m *dnsmessage.Message) string {
	if m == nil {
		return "nothing"
	}
	out := m.RCode.String()[len("RCode"):]
	for _, a := range m.Answers {
		switch b := a.Body.(type) {
		case *dnsmessage.AResource:
			out += fmt.Sprintf(" A %s %d", netip.AddrFrom4(b.A), a.Header.TTL)
		case *dnsmessage.AAAAResource:
			out += fmt.Sprintf(" AAAA %s", netip.AddrFrom16(b.AAAA))
		case *dnsmessage.PTRResource:
			out += " PTR " + b.PTR.String()
		}
	}
	for _, a := range m.Authorities {
		if a.Header.Type == dnsmessage.TypeSOA {
			out += " SOA"
		}
	}
	return out
}

func TestAnswers(t *testing.T) {
	ip6loop := "1." + strings.Repeat("0.", 31) + "ip6.arpa."
	for _, tt := range []struct {
		name    string
		typ     dnsmessage.Type
		want    string
		refused string
	}{
		{"api.example.com.", dnsmessage.TypeA, "Success A 198.18.0.1 60", ""},
		{"API.Example.COM.", dnsmessage.TypeA, "Success A 198.18.0.1 60", ""},
		{"x.wild.example.com.", dnsmessage.TypeA, "Success A 198.18.0.2 60", ""},
		{"api.example.com.", dnsmessage.TypeALL, "Success A 198.18.0.1 60", ""},
		{"api.example.com.", dnsmessage.TypeAAAA, "Success SOA", ""},
		{"api.example.com.", dnsmessage.TypeTXT, "Success SOA", ""},
		{"api.example.com.", 65, "Success SOA", ""},
		{"new.wild.example.com.", dnsmessage.TypeAAAA, "Success SOA", ""},
		{"evil.test.", dnsmessage.TypeA, "NameError SOA", "A evil.test"},
		{"evil.test.", dnsmessage.TypeAAAA, "NameError SOA", "AAAA evil.test"},
		{"evil.test.", 4711, "NameError SOA", "TYPE4711 evil.test"},
		{"evil.test.", 65, "NameError SOA", "HTTPS evil.test"},
		{"c2VjcmV0.evil.test.", dnsmessage.TypeTXT, "NameError SOA", "TXT c2VjcmV0.evil.test"},
		{"api.example.com.evil.test.", dnsmessage.TypeA, "NameError SOA", "A api.example.com.evil.test"},
		{"wild.example.com.", dnsmessage.TypeA, "NameError SOA", "A wild.example.com"},
		{"a b\x00\\.example.com.", dnsmessage.TypeA, "NameError SOA", `A a\032b\000\092.example.com`},
		{"127.0.0.1.", dnsmessage.TypeA, "NameError SOA", "A 127.0.0.1"},
		{"0x7f000001.", dnsmessage.TypeA, "NameError SOA", "A 0x7f000001"},
		{".", dnsmessage.TypeNS, "NameError SOA", "NS ."},
		{"localhost.", dnsmessage.TypeA, "Success A 127.0.0.1 60", ""},
		{"LocalHost.", dnsmessage.TypeAAAA, "Success AAAA ::1", ""},
		{"app.localhost.", dnsmessage.TypeA, "Success A 127.0.0.1 60", ""},
		{"localhost.", dnsmessage.TypeMX, "Success SOA", ""},
		{"notlocalhost.", dnsmessage.TypeA, "NameError SOA", "A notlocalhost"},
		{"1.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, "Success PTR api.example.com.", ""},
		{"1.0.18.198.IN-ADDR.ARPA.", dnsmessage.TypePTR, "Success PTR api.example.com.", ""},
		{"1.0.18.198.in-addr.arpa.", dnsmessage.TypeA, "Success SOA", ""},
		{"1.0.0.127.in-addr.arpa.", dnsmessage.TypePTR, "Success PTR localhost.", ""},
		{ip6loop, dnsmessage.TypePTR, "Success PTR localhost.", ""},
		{"9.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, "NameError SOA", "PTR 9.0.18.198.in-addr.arpa"},
		{"8.8.8.8.in-addr.arpa.", dnsmessage.TypePTR, "NameError SOA", "PTR 8.8.8.8.in-addr.arpa"},
		{"01.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, "NameError SOA", "PTR 01.0.18.198.in-addr.arpa"},
		{"x.ip6.arpa.", dnsmessage.TypePTR, "NameError SOA", "PTR x.ip6.arpa"},
	} {
		r, rec := newResolver(t, Config{})
		for _, warm := range []string{"api.example.com.", "x.wild.example.com."} {
			exchange(t, r, ask(warm, dnsmessage.TypeA))
		}
		m := exchange(t, r, ask(tt.name, tt.typ))
		if got := summary(m); got != tt.want {
			t.Errorf("%s %v: %q, want %q", tt.name, tt.typ, got, tt.want)
		}
		if got := strings.Join(rec.take(), ","); got != tt.refused {
			t.Errorf("%s %v: refused %q, want %q", tt.name, tt.typ, got, tt.refused)
		}
		if m != nil && (m.ID != 7 || !m.Response || !m.RecursionDesired || m.Questions[0].Name.String() != tt.name) {
			t.Errorf("%s: header or question not echoed: %+v", tt.name, m)
		}
	}
}

func TestMalformed(t *testing.T) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("evil.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	good := ask("evil.test.", dnsmessage.TypeA)
	chaos := q
	chaos.Class = dnsmessage.ClassCHAOS
	edns := func(version uint32) []byte {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(1232, 0, false)
		h.TTL |= version << 16
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{q},
			Additionals: []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}}
		m.Questions[0].Name = dnsmessage.MustNewName("api.example.com.")
		out, _ := m.Pack()
		return out
	}
	selfPointer := append(slices.Clone(good[:headerLen]), 0xc0, headerLen, 0, 1, 0, 1)
	dotInLabel := append(slices.Clone(good[:headerLen]), 3, 'a', '.', 'b', 0, 0, 1, 0, 1)
	for name, tt := range map[string]struct {
		packet []byte
		want   string
		calls  int
	}{
		"empty":               {nil, "nothing", 0},
		"short header":        {good[:11], "nothing", 0},
		"a response":          {askWith(dnsmessage.Header{ID: 7, Response: true}, q), "nothing", 0},
		"status opcode":       {askWith(dnsmessage.Header{ID: 7, OpCode: 2}, q), "NotImplemented", 0},
		"update opcode":       {askWith(dnsmessage.Header{ID: 7, OpCode: 5}, q), "NotImplemented", 0},
		"no question":         {askWith(dnsmessage.Header{ID: 7}), "FormatError", 0},
		"two questions":       {askWith(dnsmessage.Header{ID: 7}, q, q), "FormatError", 0},
		"cut question":        {good[:len(good)-1], "FormatError", 0},
		"header only":         {good[:headerLen], "FormatError", 0},
		"pointer loop":        {selfPointer, "FormatError", 0},
		"dot inside a label":  {dotInLabel, "FormatError", 0},
		"class CHAOS":         {askWith(dnsmessage.Header{ID: 7}, chaos), "Refused", 1},
		"EDNS 0":              {edns(0), "Success A 198.18.0.1 60", 0},
		"EDNS 1":              {edns(1), "Success", 0}, // extended: checked below
		"missing EDNS record": {append(slices.Clone(good[:10]), append([]byte{0, 1}, good[12:]...)...), "FormatError", 0},
	} {
		r, rec := newResolver(t, Config{})
		m := exchange(t, r, tt.packet)
		if got := summary(m); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if n := len(rec.take()); n != tt.calls {
			t.Errorf("%s: refused %d times, want %d", name, n, tt.calls)
		}
		if name == "EDNS 1" && m.Additionals[0].Header.ExtendedRCode(m.RCode) != badVersion {
			t.Error("EDNS 1 is not answered BADVERS")
		}
		if name == "EDNS 0" && len(m.Additionals) != 1 {
			t.Error("EDNS is not answered with EDNS")
		}
	}
}

func TestOneAddressPerNameForGood(t *testing.T) {
	r, _ := newResolver(t, Config{Range: netip.MustParsePrefix("198.18.0.0/29"), TTL: time.Second})
	want := map[string]string{}
	for i := range 6 {
		name := fmt.Sprintf("n%d.wild.example.com", i)
		want[name] = fmt.Sprintf("Success A 198.18.0.%d 1", i+1)
	}
	for range 2 {
		for i := range 6 {
			name := fmt.Sprintf("n%d.wild.example.com", i)
			if got := summary(exchange(t, r, ask(name+".", dnsmessage.TypeA))); got != want[name] {
				t.Errorf("%s: %q, want %q", name, got, want[name])
			}
		}
		if got := summary(exchange(t, r, ask("more.wild.example.com.", dnsmessage.TypeA))); got != "ServerFailure" {
			t.Errorf("range used up: %q", got)
		}
	}
	for addr, want := range map[string]string{
		"198.18.0.1": "n0.wild.example.com", "198.18.0.6": "n5.wild.example.com", "::ffff:198.18.0.1": "n0.wild.example.com",
		"198.18.0.0": "", "198.18.0.7": "", "198.17.255.255": "", "::1": "",
	} {
		if got, ok := r.Lookup(netip.MustParseAddr(addr)); got != want || ok != (want != "") {
			t.Errorf("Lookup(%s) = %q, %v", addr, got, ok)
		}
	}
}

func TestConcurrentAssignmentIsUnique(t *testing.T) {
	tab := newTable(netip.MustParsePrefix("198.18.0.0/15"))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				tab.addr(fmt.Sprint((i + g) % 100))
			}
		})
	}
	wg.Wait()
	seen := map[[4]byte]bool{}
	for i := range 100 {
		a, ok := tab.addr(fmt.Sprint(i))
		if !ok || seen[a] {
			t.Fatalf("%v given twice or not at all", a)
		}
		seen[a] = true
	}
	if len(tab.names) != 100 {
		t.Errorf("%d addresses for 100 names", len(tab.names))
	}
}

func TestLongNameIsTruncatedOverSmallUDP(t *testing.T) {
	label := strings.Repeat("a", 63)
	name := label + "." + label + "." + label + "." + strings.Repeat("b", 43) + ".wild.example.com."
	r, _ := newResolver(t, Config{})
	q, _, ok := parse(ask(name, dnsmessage.TypeA))
	rep, refuse := r.decide(&q)
	if !ok || refuse {
		t.Fatal("name refused")
	}
	out, err := encode(nil, &q, rep, r.cfg.TTL, 512)
	if err != nil || len(out) > 512 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(out); err != nil || !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("%v %v", m.Header, err)
	}
}

func serveUDP(t *testing.T, r *Resolver) (net.Conn, context.CancelFunc) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.ServeUDP(ctx, pc) }()
	conn, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn, cancel
}

func roundTrip(t *testing.T, conn net.Conn, packet []byte) string {
	t.Helper()
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	return receive(t, conn)
}

func receive(t *testing.T, conn net.Conn) string {
	t.Helper()
	buf := make([]byte, 2048)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return summary(&m)
}

func TestUDP(t *testing.T) {
	r, rec := newResolver(t, Config{})
	conn, _ := serveUDP(t, r)
	if _, err := conn.Write([]byte("junk")); err != nil { // ignored
		t.Fatal(err)
	}
	if got := roundTrip(t, conn, ask("api.example.com.", dnsmessage.TypeA)); got != "Success A 198.18.0.1 60" {
		t.Error(got)
	}
	for range 3 {
		if got := roundTrip(t, conn, ask("evil.test.", dnsmessage.TypeA)); got != "NameError SOA" {
			t.Error(got)
		}
	}
	if diff := cmp.Diff([]string{"A evil.test", "A evil.test", "A evil.test"}, rec.take()); diff != "" {
		t.Error("every refusal is recorded:", diff)
	}
}

func TestSlowAuditHoldsUpNobodyElse(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	r, _ := newResolver(t, Config{Refused: func(context.Context, string, string) {
		entered <- struct{}{}
		<-release
	}})
	conn, _ := serveUDP(t, r)
	for range 5 {
		if _, err := conn.Write(ask("evil.test.", dnsmessage.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		<-entered
	}
	if got := roundTrip(t, conn, ask("api.example.com.", dnsmessage.TypeA)); got != "Success A 198.18.0.1 60" {
		t.Error(got)
	}
	close(release)
	for range 5 {
		if got := receive(t, conn); got != "NameError SOA" {
			t.Error(got)
		}
	}
}

func TestPanickingAuditFailsClosed(t *testing.T) {
	r, _ := newResolver(t, Config{Refused: func(context.Context, string, string) { panic("disk") }})
	if got := summary(exchange(t, r, ask("evil.test.", dnsmessage.TypeA))); got != "ServerFailure" {
		t.Error(got)
	}
}

func TestTCP(t *testing.T) {
	r, _ := newResolver(t, Config{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.ServeTCP(ctx, ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, tt := range [][2]string{{"api.example.com.", "Success A 198.18.0.1 60"}, {"evil.test.", "NameError SOA"}} {
		q := ask(tt[0], dnsmessage.TypeA)
		two := binary.BigEndian.AppendUint16(nil, uint16(len(q)))
		if _, err := conn.Write(append(two, q...)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, two); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, binary.BigEndian.Uint16(two))
		if _, err := io.ReadFull(conn, buf); err != nil {
			t.Fatal(err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf); err != nil || summary(&m) != tt[1] {
			t.Errorf("%s: %q, %v", tt[0], summary(&m), err)
		}
	}
	for _, junk := range []string{"\x00\x05hello", "\xff\xff"} { // too short, too long: the connection ends
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, junk)
		if n, err := c.Read(make([]byte, 1)); err == nil || n != 0 {
			t.Errorf("%q is answered", junk)
		}
		c.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("connection outlives the server")
	}
}

// TestGoResolver asks through a real stub resolver.
func TestGoResolver(t *testing.T) {
	r, rec := newResolver(t, Config{})
	conn, _ := serveUDP(t, r)
	res := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.RemoteAddr().String())
	}}
	addrs, err := res.LookupNetIP(t.Context(), "ip", "api.example.com.")
	if err != nil || len(addrs) != 1 || addrs[0].Unmap() != netip.MustParseAddr("198.18.0.1") {
		t.Errorf("%v %v", addrs, err)
	}
	_, err = res.LookupNetIP(t.Context(), "ip", "evil.test.")
	if e, ok := err.(*net.DNSError); !ok || !e.IsNotFound {
		t.Errorf("%v", err)
	}
	got := rec.take()
	slices.Sort(got)
	if diff := cmp.Diff([]string{"A evil.test", "AAAA evil.test"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	ok := Config{Routable: routable, Refused: (&recorder{}).refused}
	for name, change := range map[string]func(*Config){
		"no Routable": func(c *Config) { c.Routable = nil }, "no Refused": func(c *Config) { c.Refused = nil },
		"IPv6 range": func(c *Config) { c.Range = netip.MustParsePrefix("fd00::/64") },
		"tiny range": func(c *Config) { c.Range = netip.MustParsePrefix("198.18.0.0/31") },
	} {
		cfg := ok
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzPacket: an answer is to the question as it was asked, no longer than its sender
// takes, and the same over UDP and TCP; what is refused was told under the name that was
// asked, and what is answered leads back to a name that is routable.
func FuzzPacket(f *testing.F) {
	for _, name := range []string{"api.example.com.", "API.eXample.com.", "a.wild.example.com.", "evil.test.", "1.0.18.198.in-addr.arpa.", "1.0.0.127.in-addr.arpa.", "x.localhost.", ".", "1.2.3.4.", "b\u00fccher.wild.example.com."} {
		for _, typ := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeALL, 65} {
			f.Add(ask(name, typ))
		}
	}
	f.Add([]byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1})
	for _, opt := range [][]byte{{0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 41, 0, 0, 0, 1, 0, 0, 0, 0}} {
		packet := append(ask("localhost.", dnsmessage.TypeALL), opt...)
		packet[11] = 1
		f.Add(packet)
	}
	r, rec := newResolver(f, Config{Range: netip.MustParsePrefix("198.18.0.0/28"), Range6: netip.MustParsePrefix(CaptureRange6)})
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := exchange(t, r, packet)
		refused := rec.take()
		if m == nil {
			return
		}
		if m.ID != binary.BigEndian.Uint16(packet) || !m.Response || m.Truncated {
			t.Fatal("not an answer to this packet")
		}
		if len(refused) > 1 || len(refused) == 1 && len(m.Answers) > 0 {
			t.Fatalf("refused as %q, and answered %v", refused, m.Answers)
		}
		if m.RCode == dnsmessage.RCodeNameError && len(refused) == 0 {
			t.Fatal("a name does not exist and nobody was told")
		}
		if len(m.Questions) == 1 {
			var p dnsmessage.Parser
			if _, err := p.Start(packet); err != nil {
				t.Fatal(err)
			}
			if q, err := p.Question(); err != nil || q != m.Questions[0] {
				t.Fatalf("%v is answered as %v (%v)", q, m.Questions[0], err)
			}
			if name := m.Questions[0].Name.String(); len(refused) == 1 && !strings.Contains(name, "\\") && plainName(name) && !strings.HasSuffix(refused[0]+".", " "+name) {
				t.Fatalf("%s is told as %q", name, refused)
			}
		}
		for _, a := range m.Answers {
			checkAnswer(t, r, m.Questions[0], a)
		}
		q, rcode, ok := parse(packet)
		if !ok {
			t.Fatal("answered what deserves no answer")
		}
		rep := reply{known: true, rcode: rcode}
		if rcode == dnsmessage.RCodeSuccess {
			rep, _ = r.decide(&q)
		}
		short, err := encode(nil, &q, rep, r.cfg.TTL, q.maxUDP)
		if err != nil || len(short) > q.maxUDP {
			t.Fatalf("%d bytes of %d, %v", len(short), q.maxUDP, err)
		}
	})
}

func plainName(s string) bool {
	return s != "." && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}

// checkAnswer: an address is loopback's for localhost's names, or one that was given to
// the name; what an address is called is the name that it was given to.
func checkAnswer(t *testing.T, r *Resolver, q dnsmessage.Question, a dnsmessage.Resource) {
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if a.Header.Name != q.Name || a.Header.Class != dnsmessage.ClassINET {
		t.Fatalf("%v answers %v", a.Header, q)
	}
	var addr netip.Addr
	switch b := a.Body.(type) {
	case *dnsmessage.AResource:
		addr = netip.AddrFrom4(b.A)
	case *dnsmessage.AAAAResource:
		addr = netip.AddrFrom16(b.AAAA)
	case *dnsmessage.PTRResource:
		if to := strings.TrimSuffix(b.PTR.String(), "."); to != "localhost" && !routable(to) {
			t.Fatalf("%s is called %s", name, to)
		}
		return
	}
	if addr.IsLoopback() {
		if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
			t.Fatalf("%s is loopback", name)
		}
		return
	}
	host, literal, err := intent.CanonicalHost(name)
	if to, ok := r.Lookup(addr); err != nil || literal.IsValid() || !ok || to != host || !routable(to) {
		t.Fatalf("%s is %v, which is %s (%v)", name, addr, to, err)
	}
}

func BenchmarkRoutable(b *testing.B) {
	r, _ := newResolver(b, Config{})
	packet := ask("api.example.com.", dnsmessage.TypeA)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		q, _, _ := parse(packet)
		rep, _ := r.decide(&q)
		if _, err := encode(buf, &q, rep, r.cfg.TTL, 512); err != nil {
			b.Fatal(err)
		}
	}
}

// TestIPv6: where there is a range, a name's AAAA is its A in another form, both
// ways.
func TestIPv6(t *testing.T) {
	r, rec := newResolver(t, Config{Range6: netip.MustParsePrefix(CaptureRange6)})
	const low = "1.0.0.0.2.1.6.c.0.0.0.0.0.0.0.0.0.0.0.0.1.6.d.6.2.7.9.6.6.6.d.f.ip6.arpa."
	for _, c := range []struct {
		name, want string
		typ        dnsmessage.Type
	}{
		{"api.example.com.", "Success AAAA fd66:6972:6d61::c612:1", dnsmessage.TypeAAAA},
		{"api.example.com.", "Success A 198.18.0.1 60", dnsmessage.TypeA},
		{"x.wild.example.com.", "Success AAAA fd66:6972:6d61::c612:2", dnsmessage.TypeAAAA},
		{"evil.test.", "NameError SOA", dnsmessage.TypeAAAA},
		{low, "Success PTR api.example.com.", dnsmessage.TypePTR},
		{"9" + low[1:], "NameError SOA", dnsmessage.TypePTR},
		{"10" + low[1:], "NameError SOA", dnsmessage.TypePTR},
		{"0" + low, "NameError SOA", dnsmessage.TypePTR},
	} {
		if got := summary(exchange(t, r, ask(c.name, c.typ))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	rec.take()
	for addr, want := range map[string]string{"fd66:6972:6d61::c612:2": "x.wild.example.com", "fd66:6972:6d61::1": "", "fd66:6972:6d61:1::c612:2": "", "::ffff:198.18.0.1": "api.example.com"} {
		if got, _ := r.Lookup(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	for _, bad := range []string{"fd66::/64", "198.18.0.0/15"} {
		if _, err := New(Config{Routable: routable, Refused: rec.refused, Range6: netip.MustParsePrefix(bad)}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
