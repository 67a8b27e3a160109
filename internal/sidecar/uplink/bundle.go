package uplink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"firma/internal/fault"
	"firma/internal/policy"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// maxFreshness is the longest a bundle is believed, whatever its ttl says.
const maxFreshness = 24 * time.Hour

// received is a bundle as published. It is immutable.
type received struct {
	bundle     *policy.Bundle
	version    string
	digest     [sha256.Size]byte // of text and schema: an unchanged refresh is not compiled again
	freshUntil time.Time
}

// keepBundle follows the bundle stream until the uplink ends, and reports how
// the first attempt went.
func (u *Uplink) keepBundle(first func(error)) {
	wait := backoff{min: u.cfg.MinBackoff, max: u.cfg.MaxBackoff}
	for {
		err := u.watchBundle(func(err error) {
			if err == nil {
				wait.reset()
			}
			first(err)
		})
		first(err)
		if u.life.Err() != nil {
			return
		}
		u.cfg.Log.Warn("policy stream interrupted; the bundle serves until it is stale", "error", err)
		if !u.sleep(wait.next()) {
			return
		}
	}
}

// watchBundle follows one stream to its end, never nil, and tells took about
// every bundle.
func (u *Uplink) watchBundle(took func(error)) error {
	ctx, cancel := context.WithCancel(u.life)
	defer cancel()
	s, err := u.link.session(ctx)
	if err != nil {
		return u.explain(err)
	}
	stream, err := s.authority.WatchPolicyBundle(ctx, connect.NewRequest(&firmav1.WatchPolicyBundleRequest{
		CurrentVersion: u.BundleVersion(), Credentials: u.credentials(),
	}))
	if err != nil {
		return u.explain(err)
	}
	return u.explain(u.followBundle(follow(ctx, u, stream), took))
}

// followBundle takes bundles until the stream ends, or until none came for as
// long as the last one promised: then the stream is not worth waiting for.
func (u *Uplink) followBundle(updates *feed[firmav1.PolicyBundleUpdate], took func(error)) error {
	silence := u.cfg.CallTimeout
	for {
		select {
		case m, ok := <-updates.messages:
			if !ok {
				return updates.err
			}
			b := m.GetBundle()
			err := u.takeBundle(b)
			if err != nil {
				u.cfg.Log.Error("policy bundle refused; the previous one stays", "error", err)
			}
			took(err)
			silence = max(life(b), time.Second)
		case <-u.cfg.After(silence):
			return fmt.Errorf("no policy bundle arrived for %v", silence)
		}
	}
}

// life is how long b may be used after its receipt.
func life(b *firmav1.PolicyBundle) time.Duration {
	return min(time.Duration(b.GetTtlSeconds())*time.Second, maxFreshness)
}

// takeBundle publishes b. A bundle that cannot be used changes nothing, not even
// the freshness of the one before.
func (u *Uplink) takeBundle(b *firmav1.PolicyBundle) error {
	now := u.cfg.Now()
	if err := checkBundle(b); err != nil {
		return err
	}
	next := &received{version: b.GetVersion(), digest: digest(b), freshUntil: now.Add(life(b))}
	if old := u.bundle.Load(); old != nil && old.version == next.version && old.digest == next.digest {
		next.bundle = old.bundle
		u.bundle.Store(next)
		return nil
	}
	compiled, err := policy.Compile(b.GetVersion(), b.GetPolicies(), schemaOf(b))
	if err != nil {
		return err
	}
	next.bundle = compiled
	u.bundle.Store(next)
	u.cfg.Log.Info("policy bundle taken", "version", next.version, "fresh_for", life(b))
	return nil
}

// schemaOf is nil, the built-in schema, when the Authority sent none.
func schemaOf(b *firmav1.PolicyBundle) []byte {
	if len(bytes.TrimSpace(b.GetEntitySchema())) == 0 {
		return nil
	}
	return b.GetEntitySchema()
}

func checkBundle(b *firmav1.PolicyBundle) error {
	why := ""
	switch v := b.GetVersion(); {
	case b == nil:
		why = "it is missing"
	case v == "" || len(v) > 128 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }):
		why = "its version is not 1 to 128 printable characters"
	case b.GetTtlSeconds() == 0:
		why = "its ttl is zero"
	case len(b.GetPolicies()) > wire.MaxBundleBytes || len(b.GetEntitySchema()) > wire.MaxBundleBytes:
		why = fmt.Sprintf("it is larger than %d bytes", wire.MaxBundleBytes)
	default:
		return nil
	}
	return fault.New("PolicyInvalid", "the Authority sent a policy bundle that cannot be used: "+why, "correct the policies of the Authority")
}

func digest(b *firmav1.PolicyBundle) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", len(b.GetPolicies()))
	h.Write(b.GetPolicies())
	h.Write(b.GetEntitySchema())
	h.Sum(sum[:0])
	return sum
}
