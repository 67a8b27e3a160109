package capability

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"firma/internal/intent"
)

type scopeKind uint8

// The kinds, from the widest to the narrowest. The zero value covers nothing.
const (
	scopeNone     scopeKind = iota
	scopeAll                // *
	scopeWildcard           // *.host
	scopeHost               // host[:port]
	scopePath               // host[:port]/prefix
)

// Scope is a parsed resource scope. The zero value covers nothing. It is
// immutable and safe for concurrent use.
type Scope struct {
	kind   scopeKind
	host   string // canonical; for scopeWildcard with the leading dot
	port   uint16 // 0 stands for the default ports 80 and 443
	prefix string // canonical path without a trailing slash, for scopePath
}

// ParseScope reads a resource scope. There are four forms and no other:
//
//   - every resource
//     *.example.com        each name one label below, on the default ports
//     api.example.com      that host on ports 80 and 443; with :port, on that port
//     api.example.com/v1   that path and everything below it
//
// A trailing "/" or "/*" says the same as none. Host names are brought into
// canonical form; a path must be in canonical form already, so that what an
// issuer reads is what is matched.
func ParseScope(s string) (Scope, error) {
	switch {
	case s == "*":
		return Scope{kind: scopeAll}, nil
	case s == "" || !plain(s, maxScope):
		return Scope{}, fmt.Errorf("scope is empty, longer than %d bytes or has control characters", maxScope)
	case strings.HasPrefix(s, "*."):
		return parseWildcard(s)
	}
	authority, path := s, ""
	if i := strings.IndexByte(s, '/'); i >= 0 {
		authority, path = s[:i], s[i:]
	}
	host, port, err := parseAuthority(authority)
	if err != nil {
		return Scope{}, fmt.Errorf("scope %q: %w", s, err)
	}
	prefix, err := parsePrefix(path)
	if err != nil {
		return Scope{}, fmt.Errorf("scope %q: %w", s, err)
	}
	if prefix == "" {
		return Scope{kind: scopeHost, host: host, port: port}, nil
	}
	return Scope{kind: scopePath, host: host, port: port, prefix: prefix}, nil
}

// ValidScope returns nil when s is a scope that ParseScope accepts.
func ValidScope(s string) error {
	_, err := ParseScope(s)
	return err
}

func parseWildcard(s string) (Scope, error) {
	if strings.ContainsAny(s[2:], "*/:[") {
		return Scope{}, fmt.Errorf("scope %q: *. is followed by a host name only", s)
	}
	host, addr, err := intent.CanonicalHost(s[2:])
	if err != nil {
		return Scope{}, fmt.Errorf("scope %q: %w", s, err)
	}
	if addr.IsValid() {
		return Scope{}, fmt.Errorf("scope %q: an address has no names below it", s)
	}
	return Scope{kind: scopeWildcard, host: "." + host}, nil
}

func parseAuthority(s string) (host string, port uint16, err error) {
	name, digits, ok := splitPort(s)
	if ok {
		n, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || n == 0 || digits[0] == '0' {
			return "", 0, fmt.Errorf("bad port %q", digits)
		}
		port = uint16(n)
	}
	if strings.Contains(name, "*") {
		return "", 0, fmt.Errorf("a * in the host must be its whole first label, as in *.example.com")
	}
	host, _, err = intent.CanonicalHost(name)
	return host, port, err
}

// splitPort cuts ":port" and the brackets of an IPv6 literal.
func splitPort(s string) (host, port string, ok bool) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		return s, "", false
	}
	i := strings.LastIndexByte(s, ':')
	if rest, found := strings.CutPrefix(s, "["); found {
		end := strings.IndexByte(rest, ']')
		switch {
		case end < 0:
			return s, "", false
		case end == len(rest)-1:
			return rest[:end], "", false
		case rest[end+1] == ':':
			return rest[:end], rest[end+2:], true
		}
		return s, "", false
	}
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// parsePrefix returns the path without its trailing "/" or "/*", "" for a path
// that covers everything.
func parsePrefix(path string) (string, error) {
	if strings.HasSuffix(path, "/*") {
		path = path[:len(path)-1]
	}
	prefix := strings.TrimSuffix(path, "/")
	if prefix == "" {
		return "", nil
	}
	if strings.ContainsAny(prefix, "*?#") || strings.HasSuffix(prefix, "/") {
		return "", fmt.Errorf("a path is a plain prefix: no ?, # or empty segment, and * only as the last segment")
	}
	canonical, err := intent.CanonicalPath(prefix)
	if err != nil {
		return "", err
	}
	if strings.Contains(canonical, "%2F") {
		return "", fmt.Errorf("an encoded slash is judged as / too; end the path in front of it")
	}
	if canonical != prefix {
		return "", fmt.Errorf("the path is not canonical; write %s", canonical)
	}
	return prefix, nil
}

// Covers reports whether the scope includes the resource of c. A tunnel (no
// path) could reach any path of its host, so no path scope covers it.
func (s Scope) Covers(c *intent.Call) bool {
	if c == nil || c.Host == "" {
		return false
	}
	switch s.kind {
	case scopeAll:
		return true
	case scopeWildcard:
		return !c.IsIP && s.coversPort(c.Port) && oneLabelBelow(c.Host, s.host)
	case scopeHost:
		return c.Host == s.host && s.coversPort(c.Port)
	case scopePath:
		return c.Host == s.host && s.coversPort(c.Port) && c.Method != "CONNECT" && s.coversPath(c)
	}
	return false
}

// coversPath asks for every reading of the path.
func (s Scope) coversPath(c *intent.Call) bool {
	decoded := c.Decoded()
	return below(c.Path, s.prefix) && (decoded == "" || below(decoded, s.prefix))
}

func (s Scope) coversPort(port uint16) bool {
	if s.port == 0 {
		return port == 80 || port == 443
	}
	return port == s.port
}

// oneLabelBelow reports whether host is one non-empty label before suffix,
// which starts with a dot.
func oneLabelBelow(host, suffix string) bool {
	label, ok := strings.CutSuffix(host, suffix)
	return ok && label != "" && !strings.Contains(label, ".")
}

func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// String returns the canonical text of the scope, "" for the zero value.
func (s Scope) String() string {
	switch s.kind {
	case scopeAll:
		return "*"
	case scopeWildcard:
		return "*" + s.host
	case scopeNone:
		return ""
	}
	host := s.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if s.port != 0 {
		host += ":" + strconv.Itoa(int(s.port))
	}
	return host + s.prefix
}
