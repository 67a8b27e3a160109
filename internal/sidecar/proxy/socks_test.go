package proxy

import (
	"crypto/tls"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

const greeting, greeted = "\x05\x01\x00", "\x05\x00"

// socksTo is a request for a name.
func socksTo(name string, port int) string {
	return "\x05\x01\x00\x03" + string([]byte{byte(len(name))}) + name + string([]byte{byte(port >> 8), byte(port)})
}

func reply(code byte) string {
	return "\x05" + string([]byte{code}) + "\x00\x01\x00\x00\x00\x00\x00\x00"
}

func TestSOCKSTunnel(t *testing.T) {
	addr, _ := echoing(t)
	for name, tt := range map[string]struct{ request, host string }{
		"name":              {socksTo("api.example.com", 5432), "api.example.com:5432"},
		"name, not settled": {socksTo("API.example.com.", 5432), "api.example.com:5432"},
		"address":           {"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "192.0.2.1"},
		"address as a name": {socksTo("192.0.2.1", 80), "192.0.2.1"},
		"odd address":       {socksTo("0300.0.2.1", 80), "192.0.2.1"},
		"IPv6":              {"\x05\x01\x00\x04\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01\x15\x38", "[2001:db8::1]:5432"},
		"synthetic address": {"\x05\x01\x00\x01\x7f\x40\x00\x01\x15\x38", "named.example.com:5432"},
		"another synthetic": {"\x05\x01\x00\x01\x7f\x40\x00\x02\x15\x38", "127.64.0.2:5432"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &enforcer{strict: true, ended: make(chan Dispatch, 1)}
			_, proxy := start(t, Config{Dialer: dialTo(addr), Enforcer: e, NameOf: func(a netip.Addr) (string, bool) {
				return "named.example.com", a == netip.MustParseAddr("127.64.0.1")
			}})
			c := connectTo(t, proxy)
			c.send(greeting)
			c.expect(greeted)
			c.send(tt.request)
			c.expect(reply(0))
			c.send("hello")
			c.expect("hello")
			c.CloseWrite()
			c.expectEOF()
			receive(t, e.ended)
			if diff := cmp.Diff([]string{"ALLOW CONNECT " + tt.host}, e.take()); diff != "" {
				t.Error(diff)
			}
			c = connectTo(t, proxy) // all at once
			c.send(greeting + tt.request + "hello")
			c.expect(greeted + reply(0) + "hello")
		})
	}
}

func TestSOCKSIntercepted(t *testing.T) {
	w := newIntercepting(t, interceptOptions{}, answers(ok, nil))
	w.e.decide = denyPath("/deny")
	raw := connectTo(t, w.proxy)
	raw.send("\x05\x02\x02\x00" + socksTo("api.example.com", 443))
	raw.expect(greeted + reply(0))
	c := w.secure(t, raw, nil)
	c.send(inGet + "\r\nGET /deny HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	c.expect(ok)
	if status, _ := c.response(); status != "HTTP/1.1 403 Forbidden" {
		t.Error(status)
	}
	if diff := cmp.Diff([]string{admit, "ALLOW GET api.example.com/x", "DENY GET api.example.com/deny"}, w.e.take()); diff != "" {
		t.Error(diff)
	}
	raw = connectTo(t, w.proxy)
	raw.send(greeting + socksTo("api.example.com", 443))
	raw.expect(greeted + reply(0))
	w.refusedHello(t, raw, &tls.Config{ServerName: "evil.test"}, refusedHere)
}

func TestSOCKSRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		wire, want, log string
	}{
		"denied":          {greeting + socksTo("api.example.com", 80), greeted + reply(2), "DENY CONNECT api.example.com"},
		"BIND":            {greeting + "\x05\x02\x00\x01\x01\x02\x03\x04\x00\x50", greeted + reply(7), "malformed socks: only CONNECT is served, not BIND and not UDP ASSOCIATE"},
		"UDP ASSOCIATE":   {greeting + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", greeted + reply(7), "malformed socks: only CONNECT is served, not BIND and not UDP ASSOCIATE"},
		"address type":    {greeting + "\x05\x01\x00\x02xxxxxxx", greeted + reply(8), "malformed socks: the type of the address is unknown"},
		"NUL":             {greeting + socksTo("evil.test\x00.example.com", 80), greeted + reply(1), "malformed socks: the name has a byte that names do not have"},
		"colon":           {greeting + socksTo("evil.test:80", 80), greeted + reply(1), "malformed socks: the name has a byte that names do not have"},
		"empty name":      {greeting + socksTo("", 80), greeted + reply(1), "malformed socks: the name is empty"},
		"port 0":          {greeting + socksTo("a.test", 0), greeted + reply(1), "malformed socks: the port is 0"},
		"reserved":        {greeting + "\x05\x01\x07\x01\x01\x02\x03\x04\x00\x50", greeted + reply(1), "malformed socks: the reserved byte is not 0"},
		"a long name":     {greeting + socksTo(strings.Repeat("a", 255), 80), greeted + reply(1), "malformed socks: the host is longer than 253 bytes"},
		"empty label":     {greeting + socksTo("a..test", 80), greeted + reply(1), "malformed socks: the host has an empty label"},
		"another version": {greeting + "\x04\x01\x00\x50\x01\x02\x03\x04\x00", greeted + reply(1), "malformed socks: the version is not 5"},
		"a password":      {"\x05\x01\x02", "\x05\xff", "malformed socks: the client insists on authentication, and there is none"},
		"no method":       {"\x05\x00", "", "malformed socks: the greeting offers no method"},
		"SOCKS4":          {"\x04\x01\x00\x50\x01\x02\x03\x04me\x00", "", "malformed socks: SOCKS4 is not served: use SOCKS5 (socks5h://)"},
		"a slow request":  {greeting + "\x05\x01", greeted + reply(1), "malformed socks: the SOCKS request did not arrive in time"},
		"a slow greeting": {"\x05", "", "malformed socks: the SOCKS request did not arrive in time"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &enforcer{decide: deny(verdict.Decision{Outcome: verdict.Deny, Reason: verdict.PolicyDenied})}
			_, proxy := start(t, Config{Dialer: neverDial(t), Enforcer: e, HeadTimeout: 100 * time.Millisecond})
			c := connectTo(t, proxy)
			c.send(tt.wire)
			c.expect(tt.want)
			if name != "a slow greeting" {
				c.CloseWrite()
			}
			if b, _ := io.ReadAll(c.r); len(b) > 0 {
				t.Errorf("more came: %q", b)
			}
			if log := e.take(); len(log) != 1 || log[0] != tt.log {
				t.Errorf("%q", log)
			}
		})
	}
	t.Run("out of reach", func(t *testing.T) {
		e := &enforcer{ended: make(chan Dispatch, 1)}
		_, proxy := start(t, Config{Dialer: dialTo("127.0.0.1:1"), Enforcer: e})
		c := connectTo(t, proxy)
		c.send(greeting + socksTo("api.example.com", 80))
		c.expect(greeted + reply(4))
		c.CloseWrite()
		c.expectEOF()
		if d := receive(t, e.ended); d.Abort != verdict.ConnectorFailure {
			t.Errorf("%+v", d)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		e := &enforcer{}
		_, proxy := start(t, Config{Dialer: dialTo("127.0.0.1:1"), Enforcer: e})
		for _, wire := range []string{"", "\x05", greeting, greeting + "\x05\x01\x00"} {
			c := connectTo(t, proxy)
			c.send(wire)
			c.CloseWrite()
			io.Copy(io.Discard, c.r)
		}
		if log := e.take(); len(log) > 0 {
			t.Errorf("%q", log)
		}
	})
}
