package authority

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"firma/internal/fault"
	"firma/internal/wire"
)

// The defaults of a Config.
const (
	DefaultMaxTTL    = time.Hour
	DefaultBundleTTL = 30 * time.Second
	DefaultPoll      = time.Second
)

// maxBundleTTL is the longest a Sidecar may decide without hearing from us.
const maxBundleTTL = 24 * time.Hour

// Config is everything an Authority needs, as ready values. There are two ways to
// give the policies and the key: in memory, for the Authority of one run
// (Policies, IssuancePolicies, no KeyFile), and as files that are watched
// (PolicyDir, IssuancePolicyDir, KeyFile). The zero Config is refused.
type Config struct {
	// Listen is "ip:port" on loopback; port 0 picks one. "" means [::1]:0, or
	// 127.0.0.1:0 on a machine without IPv6 loopback.
	Listen string

	// KeyFile holds the signing key, 64 raw bytes. "" makes one that lives and
	// dies with this process.
	KeyFile string

	// The bundle that Sidecars decide by: exactly one of a directory of *.cedar
	// and Cedar text.
	PolicyDir    string
	Policies     []byte
	PoliciesFrom string // names Policies in errors; "" is firma's own

	// The policies that decide what a capability may hold: likewise.
	IssuancePolicyDir string
	IssuancePolicies  []byte
	IssuanceFrom      string

	// Schema validates the policies; nil means the built-in one.
	Schema []byte

	RevocationFile string // watched; "" means nothing is ever revoked
	WitnessFile    string // what the witness has seen; "" means in memory

	MaxTTL    time.Duration // longest life of a capability; 0 means DefaultMaxTTL
	BundleTTL time.Duration // whole seconds, at most a day; 0 means DefaultBundleTTL

	// PreSharedKey is what a caller must present. Without one Anonymous must be
	// set: then everybody who can reach the address is served, and on loopback
	// that is every account of the machine.
	PreSharedKey wire.PreSharedKey
	Anonymous    bool

	// Poll is how often the files are looked at; 0 means DefaultPoll. A changed
	// policy directory is read once it has stayed the same for one interval, a
	// revocation file at once.
	Poll time.Duration

	// Ready is called once, after listening. It may be nil.
	Ready func(Report)
	Log   *slog.Logger

	// Now and After are the clock; nil means the system's.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Report is what the launcher, or a person, must know to use a running Authority.
type Report struct {
	Addr          string // "ip:port" actually listened on
	PublicKey     []byte // 32 bytes
	BundleVersion string
}

// URL returns the address in the form a Sidecar takes.
func (r Report) URL() string { return "http://" + r.Addr }

// finalize fills in defaults and refuses what cannot be served safely.
func (c *Config) finalize() error {
	c.defaults()
	switch {
	case (c.PolicyDir == "") == (c.Policies == nil):
		return invalid("exactly one source of policies is needed", "set policy_dir in [authority]")
	case c.PreSharedKey == "" && !c.Anonymous:
		return invalid("no pre-shared key is set", "give Sidecars a key, or state that every local account may ask for capabilities")
	case c.PreSharedKey != "" && c.Anonymous:
		return invalid("a pre-shared key is set, but nobody is asked for it", "keep one of the two")
	case c.MaxTTL < time.Second:
		return invalid(fmt.Sprintf("max_ttl is %v", c.MaxTTL), "set max_ttl to a second or more")
	case c.BundleTTL < time.Second || c.BundleTTL > maxBundleTTL || c.BundleTTL%time.Second != 0:
		return invalid(fmt.Sprintf("bundle_ttl is %v", c.BundleTTL), "set bundle_ttl to whole seconds, from 1s to 24h")
	case c.Poll < 0:
		return invalid("the poll interval is negative", "leave it out")
	}
	return errors.Join(c.checkIssuance(), checkListen(c.Listen))
}

func (c *Config) checkIssuance() error {
	if (c.IssuancePolicyDir == "") == (c.IssuancePolicies == nil) {
		return invalid("exactly one source of issuance policies is needed", "set issuance_policy_dir in [authority]")
	}
	return nil
}

func (c *Config) defaults() {
	if c.MaxTTL == 0 {
		c.MaxTTL = DefaultMaxTTL
	}
	if c.BundleTTL == 0 {
		c.BundleTTL = DefaultBundleTTL
	}
	if c.Poll == 0 {
		c.Poll = DefaultPoll
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
}

func invalid(text, fix string) error { return fault.New("ConfigValidation", text, fix) }
