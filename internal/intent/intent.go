// Package intent gives an outbound call its one canonical form. Everything after
// it (mapping rules, capability scopes, policies, the audit log and the request
// that is sent upstream) reads that form and nothing else, so that what was
// decided is what happens. Bytes that two parsers could read differently are
// refused, not repaired.
//
// The package is pure: no network, no files, no clock. A Call is a value; it is
// safe for concurrent use once nobody writes to it.
package intent

import (
	"net/netip"
	"strings"

	"firma/internal/gitpush"
)

// The transports a call can come in by.
const (
	HTTP    = "http"    // a request to the proxy, not encrypted
	HTTPS   = "https"   // a request read from an intercepted TLS connection
	Connect = "connect" // a tunnel whose content is not seen
)

// Call is the canonical form of one outbound call. Only this package makes it;
// the zero value names no destination and matches nothing.
type Call struct {
	Transport string
	Method    string // a token; the known methods are in upper case
	Override  string // the method that an override header asks for, "" without one

	Host string     // lower-case ASCII without trailing dot; an address as netip writes it, without brackets
	Port uint16     // never 0
	IsIP bool       // Host is an address literal
	Addr netip.Addr // that address, kept as IPv6 when it was written as IPv6

	Path     string // starts with "/"; "" for CONNECT
	RawQuery string // without "?"

	// Push is what a git push asks for, where the body was read as far as that;
	// nil for one that was not, and for every other call.
	Push *Push
}

// Push are the commands of a git push. No updates are what a client sends to see
// whether it may push.
type Push struct{ Updates []gitpush.Update }

// IsPush reports a request that carries the commands of a git push in its body
// (gitprotocol-http(5), "Smart Service git-receive-pack"), in any reading of its
// method and path.
func (c *Call) IsPush() bool {
	if c.Method != "POST" && c.Override != "POST" || !strings.Contains(c.Path, "git-receive-pack") {
		return false
	}
	path := strings.ReplaceAll(c.Path, "%2F", "/")
	return lastName(path) == "git-receive-pack" || lastName(BeforeQuery(path)) == "git-receive-pack"
}

// lastName is the last segment of a path to a server that drops parameters: one that
// is nothing else is none.
func lastName(path string) string {
	for {
		at := strings.LastIndexByte(path, '/')
		if name, _ := cutParams([]byte(path[at+1:])); name != "" || at < 0 {
			return name
		}
		path = path[:at]
	}
}

// Error says why bytes are no call. It becomes the refusal MalformedRequest; Why
// is a phrase for the agent and the log, and quotes nothing of the request.
type Error struct{ Why string }

func (e *Error) Error() string { return "malformed request: " + e.Why }

func refuse(why string) error { return &Error{Why: why} }

// FromAbsolute reads the absolute form that a client sends to a proxy,
// "http://host[:port]/path?query" (RFC 9112, section 3.2.2). With https the client
// leaves the TLS to the proxy: most ask by CONNECT, older axios does not. Every
// error is an *Error.
func FromAbsolute(method, uri string) (Call, error) {
	scheme, rest, found := strings.Cut(uri, "://")
	transport := ""
	switch {
	case found && strings.EqualFold(scheme, HTTP):
		transport = HTTP
	case found && strings.EqualFold(scheme, HTTPS):
		transport = HTTPS
	default:
		return Call{}, refuse("the target is not an absolute http:// or https:// URL")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	return FromOrigin(transport, method, rest[:end], rest[end:])
}

// FromOrigin reads a request whose destination is known apart from its target: a
// Host header, or the name of an intercepted TLS connection, as authority
// ("host[:port]"), and the origin form "/path?query" as target. The default port
// is transport's, which must be HTTP or HTTPS. Every error is an *Error.
func FromOrigin(transport, method, authority, target string) (Call, error) {
	c := Call{Transport: transport}
	switch transport {
	case HTTP:
		c.Port = 80
	case HTTPS:
		c.Port = 443
	default:
		return Call{}, refuse("the transport carries no requests")
	}
	var err error
	if c.Method, err = canonicalMethod(method); err != nil {
		return Call{}, err
	}
	if c.Method == "CONNECT" {
		return Call{}, refuse("CONNECT needs host:port as its target")
	}
	if err = c.setAuthority(authority, false); err != nil {
		return Call{}, err
	}
	if err = c.setTarget(target); err != nil {
		return Call{}, err
	}
	return c, nil
}

// FromAuthority reads the authority form of CONNECT, "host:port" (RFC 9112,
// section 3.2.3). The port is required. Every error is an *Error.
func FromAuthority(authority string) (Call, error) {
	c := Call{Transport: Connect, Method: "CONNECT"}
	if err := c.setAuthority(authority, true); err != nil {
		return Call{}, err
	}
	return c, nil
}

func (c *Call) setAuthority(s string, needPort bool) error {
	host, port, err := splitAuthority(s)
	if err != nil {
		return err
	}
	if port != 0 {
		c.Port = port
	} else if needPort {
		return refuse("the target names no port")
	}
	if c.Host, c.Addr, err = CanonicalHost(host); err != nil {
		return err
	}
	c.IsIP = c.Addr.IsValid()
	return nil
}

func (c *Call) setTarget(target string) error {
	path, query, _ := strings.Cut(target, "?")
	var err error
	if c.Path, err = CanonicalPath(path); err != nil {
		return err
	}
	c.RawQuery, err = canonicalQuery(query)
	return err
}

// Target returns the origin form to send upstream.
func (c *Call) Target() string {
	if c.RawQuery == "" {
		return c.Path
	}
	return c.Path + "?" + c.RawQuery
}
