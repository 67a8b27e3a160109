package uplink

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"firma/internal/action"
	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/wire"
)

// The defaults of a Config (config.md 5).
const (
	DefaultConnectTimeout  = 10 * time.Second
	DefaultCallTimeout     = 15 * time.Second
	DefaultMinBackoff      = 250 * time.Millisecond
	DefaultMaxBackoff      = 30 * time.Second
	DefaultRevocationGrace = 500 * time.Millisecond
	DefaultMaxRevocations  = 1_000_000
	DefaultTTL             = 900 * time.Second
	DefaultRefreshRatio    = 0.60
	DefaultRefreshGrace    = 30 * time.Second
)

// Config is what an uplink needs, as ready values.
type Config struct {
	// URL is the Authority: "http://host:port" on loopback. ConnectAddr, "ip:port",
	// is dialled instead of the URL's host when set.
	URL, ConnectAddr string

	// PublicKey verifies capabilities, and who listens at URL; 32 bytes.
	PublicKey   ed25519.PublicKey
	Credentials Credentials

	// AllowUnproven accepts a plaintext Authority that does not prove it holds the
	// key (wire.ProofPath): it could then be any program of the machine, and what
	// it says about policies and revocations would count. AllowInsecureRemote
	// accepts plaintext to another machine.
	AllowUnproven, AllowInsecureRemote bool

	// Request is the capability to ask for and keep fresh; nil asks for none.
	// Seeds are verified tokens that are always part of Tokens.
	Request *Request
	Seeds   []*capability.Token

	// Skew is how far the Authority's clock may differ from this one.
	Skew time.Duration

	ConnectTimeout, CallTimeout time.Duration // 0: the defaults above
	MinBackoff, MaxBackoff      time.Duration // between reconnects; 0: the defaults

	// RevocationGrace is how long an Authority that does not announce the length
	// of its replay is waited for; 0: the default.
	RevocationGrace time.Duration
	// ClosedOnDisconnect makes Ready false while the revocation stream is down.
	ClosedOnDisconnect bool
	MaxRevocations     int // more than this many refuse everything; 0: the default

	Log *slog.Logger

	// Now and After are the clock; nil means the system's.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Credentials says which Sidecar this is.
type Credentials struct {
	WorkspaceID, SidecarID string
	PreSharedKey           wire.PreSharedKey
}

// Request is a capability to ask for. Nothing beyond it is accepted.
type Request struct {
	AgentID, SessionID string
	Actions            []action.Class
	Scope              string        // a scope of package capability; "" means "*"
	TTL                time.Duration // 0: DefaultTTL

	// A capability is renewed after RefreshRatio of its remaining life, and
	// RefreshGrace before its end at the latest. 0: the defaults.
	RefreshRatio float64
	RefreshGrace time.Duration
}

func (c *Config) finalize() error {
	c.defaults()
	if err := c.checkURL(); err != nil {
		return err
	}
	switch {
	case len(c.PublicKey) != ed25519.PublicKeySize:
		return invalid("the Authority's public key is not 32 bytes long", "set public_key_path in [sidecar.authority] to the Authority's .pub file")
	case c.MinBackoff < 0 || c.MinBackoff > c.MaxBackoff:
		return invalid("reconnect_min_backoff is larger than reconnect_max_backoff", "swap the two in [sidecar.authority]")
	case c.ConnectTimeout < 0 || c.CallTimeout < 0 || c.RevocationGrace < 0 || c.Skew < 0 || c.MaxRevocations < 0:
		return invalid("a timeout or limit of [sidecar.authority] is negative", "leave it out to get the default")
	}
	if c.Request == nil {
		return nil
	}
	return c.Request.finalize()
}

func (c *Config) defaults() {
	setDefault(&c.ConnectTimeout, DefaultConnectTimeout)
	setDefault(&c.CallTimeout, DefaultCallTimeout)
	setDefault(&c.MinBackoff, DefaultMinBackoff)
	setDefault(&c.MaxBackoff, DefaultMaxBackoff)
	setDefault(&c.RevocationGrace, DefaultRevocationGrace)
	setDefault(&c.MaxRevocations, DefaultMaxRevocations)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Request != nil {
		r := *c.Request // the caller's stays as it is
		c.Request = &r
	}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func (r *Request) finalize() error {
	setDefault(&r.Scope, "*")
	setDefault(&r.TTL, DefaultTTL)
	setDefault(&r.RefreshRatio, DefaultRefreshRatio)
	setDefault(&r.RefreshGrace, DefaultRefreshGrace)
	const fix = "correct it in [run] or on the command line"
	switch {
	case r.AgentID == "" || r.SessionID == "":
		return invalid("a capability needs an agent and a session", fix)
	case len(r.Actions) == 0:
		return invalid("no action class is requested", "list some in capability.requested_actions, or leave it out to ask for all")
	case r.TTL < time.Second || r.TTL > 100*365*24*time.Hour:
		return invalid(fmt.Sprintf("a capability cannot live %v", r.TTL), fix)
	case r.RefreshRatio <= 0 || r.RefreshRatio >= 1:
		return invalid("capability.refresh_ratio is not between 0 and 1", "leave it out to get 0.60")
	case r.RefreshGrace < 0:
		return invalid("capability.grace is negative", "leave it out to get 30s")
	}
	if err := capability.ValidScope(r.Scope); err != nil {
		return fault.Wrap(err, "ConfigValidation", "the requested scope is not a scope", fix)
	}
	return nil
}

// checkURL leaves c.ConnectAddr set to the address to dial.
func (c *Config) checkURL() error {
	u, err := url.Parse(c.URL)
	shown := c.URL
	if strings.Contains(shown, "@") {
		shown = "(a URL with a user or password)"
	}
	const fix = "write it as http://[::1]:50051"
	switch {
	case err != nil || u.Host == "" || u.Port() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/":
		return invalid(fmt.Sprintf("%q is not the URL of an Authority", shown), fix)
	case u.Scheme == "https":
		return invalid("this release reaches an Authority on loopback only, without TLS", fix)
	case u.Scheme != "http":
		return invalid(fmt.Sprintf("%q is not a scheme an Authority is reached by", u.Scheme), fix)
	}
	setDefault(&c.ConnectAddr, net.JoinHostPort(u.Hostname(), u.Port()))
	c.URL = "http://" + u.Host
	return c.checkPlaintext()
}

// checkPlaintext refuses to send a pre-shared key unencrypted over a network.
// What a name resolves to is checked after dialling, too.
func (c *Config) checkPlaintext() error {
	host, _, err := net.SplitHostPort(c.ConnectAddr)
	if err != nil {
		return invalid(fmt.Sprintf("%q is not an address and a port", c.ConnectAddr), "correct connect_addr in [sidecar.authority]")
	}
	ip, err := netip.ParseAddr(host)
	if c.AllowInsecureRemote || host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return invalid("the Authority at "+c.ConnectAddr+" is on another machine and the connection would not be encrypted",
		"use an Authority on loopback, or set allow_insecure_remote_authority in [sidecar.authority] and bear the risk")
}

func invalid(text, fix string) error { return fault.New("ConfigValidation", text, fix) }
