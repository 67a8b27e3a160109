package authority

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"firma/internal/authority/issue"
	"firma/internal/authority/keys"
	"firma/internal/authority/revocation"
	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/wire"
)

// revocationMargin is kept beyond the longest life of a token, for clocks that
// differ.
const revocationMargin = 10 * time.Minute

// IssueRequest is what the operator asks for; TTL 0 means issue.DefaultTTL.
type IssueRequest = issue.Request

// GenerateKey makes a signing key at path (mode 0600) and its public half beside
// it, and returns the public half and where it is.
func GenerateKey(path string) (ed25519.PublicKey, string, error) {
	pub, err := keys.Generate(path)
	return pub, keys.PublicPath(path), err
}

// Issue signs a capability without a running Authority, with the key, the
// issuance policies and the max_ttl of cfg. The token is what a running one
// would have signed; WriteSeed keeps it.
func Issue(cfg Config, r IssueRequest) (*capability.Token, error) {
	cfg.defaults()
	if cfg.KeyFile == "" {
		return nil, invalid("no signing key is named", "set key_file in [authority]")
	}
	if err := cfg.checkIssuance(); err != nil {
		return nil, err
	}
	key, err := keys.Load(cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	a := &Authority{cfg: cfg, key: key}
	if err := a.loadIssuer(); err != nil {
		return nil, err
	}
	t, err := a.issuer.Issue(r)
	return t, issueFault(err)
}

func issueFault(err error) error {
	var denied *issue.Denied
	var malformed *issue.Malformed
	switch {
	case errors.As(err, &denied) && denied.Code == wire.DenyPolicy:
		return fault.New("CapabilityDenied", "issuance failed: cedar denied issuance: "+denied.Message,
			"permit it in issuance_policy_dir, or ask for less")
	case errors.As(err, &denied):
		return fault.New("CapabilityDenied", "issuance failed: "+denied.Message, "ask for another scope")
	case errors.As(err, &malformed):
		return fault.New("Capability", "issuance failed: "+malformed.Why, "correct the arguments")
	case err != nil:
		return fmt.Errorf("issuance failed: %w", err)
	}
	return nil
}

// Revoke appends a token id to the revocation file at path. The entry may be
// compacted away once no token signed until now under maxTTL (0:
// DefaultMaxTTL) can still be valid.
func Revoke(path, tokenID, reason string, maxTTL time.Duration, now time.Time) error {
	if maxTTL == 0 {
		maxTTL = DefaultMaxTTL
	}
	return revocation.Add(path, revocation.Entry{
		TokenID: tokenID, Reason: reason, At: now, Expires: now.Add(maxTTL + revocationMargin),
	})
}

// CompactRevocations drops the entries of the file at path that ended before
// now, and returns how many those were.
func CompactRevocations(path string, now time.Time) (int, error) {
	return revocation.Compact(path, now)
}

// WriteSeed writes the seed of t to path, readable by its owner only, in one
// step: a Sidecar that watches the file never sees half of it. What was there is
// replaced.
func WriteSeed(path string, t *capability.Token) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err == nil {
		_, err = f.Write(capability.NewSeed(t).Marshal())
		if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}
	if err != nil {
		return fault.Wrap(err, "Capability", "the capability was not written to "+path, "choose a directory you can write to")
	}
	return nil
}
