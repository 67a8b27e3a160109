// Package uplink is the Sidecar's line to the Authority: it fetches and renews
// the capability, follows policy bundles and revocations, and publishes all
// three as state that a decision reads without waiting. It is the only package
// of the Sidecar that talks to the Authority, and holds no signing key.
//
// When the line is cut it keeps what it has and stays closed beyond that: a
// capability ends at its expiry, a bundle at its freshness.
package uplink

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"firma/internal/capability"
	"firma/internal/policy"
	"firma/internal/verdict"
)

// Uplink is made by New, started by Start, kept alive by Run and ended by the
// end of Run's context or by Close. The accessors (Tokens, Bundle, Revoked,
// Ready) are safe for concurrent use, never block and do not allocate.
type Uplink struct {
	cfg  Config
	link *link

	tokens  atomic.Pointer[capability.Set]
	bundle  atomic.Pointer[received]
	revoked revocations

	life   context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// New checks cfg. It connects to nothing.
func New(cfg Config) (*Uplink, error) {
	if err := cfg.finalize(); err != nil {
		return nil, err
	}
	u := &Uplink{cfg: cfg}
	u.link = newLink(&u.cfg)
	u.revoked.limit = cfg.MaxRevocations
	u.tokens.Store(capability.NewSet(cfg.Seeds...))
	u.life, u.cancel = context.WithCancel(context.Background())
	return u, nil
}

// Start connects and returns once there is a capability (if one is asked for), a
// bundle and the whole list of revocations, all verified. It fails on the first
// thing that cannot be had, with a fault, and has then been closed. ctx bounds
// the start only; so does Config.CallTimeout.
func (u *Uplink) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.CallTimeout)
	defer cancel()
	first := make(chan error, 3)
	waiting := 2
	u.tasks.Go(func() { u.keepBundle(once(first)) })
	u.tasks.Go(func() { u.keepRevocations(once(first)) })
	if u.cfg.Request != nil {
		waiting++
		u.tasks.Go(func() { u.keepToken(once(first)) })
	}
	for range waiting {
		if err := u.await(ctx, first); err != nil {
			u.Close()
			return err
		}
	}
	return nil
}

func (u *Uplink) await(ctx context.Context, first <-chan error) error {
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return u.unreachable(context.Cause(ctx))
	}
}

// once returns a function that sends its first argument and drops the rest.
func once(first chan<- error) func(error) {
	var o sync.Once
	return func(err error) { o.Do(func() { first <- err }) }
}

// Run keeps everything fresh until ctx ends, and returns nil then. Failures are
// logged and retried; what they cost shows in the accessors.
func (u *Uplink) Run(ctx context.Context) error {
	<-ctx.Done()
	u.Close()
	return nil
}

// Close ends the streams and waits for them. The published state stays as it is.
// It may be called more than once.
func (u *Uplink) Close() {
	u.cancel()
	u.link.close()
	u.tasks.Wait()
}

// Tokens returns the current capabilities; never nil. A token in it may have
// expired: Select checks.
func (u *Uplink) Tokens() *capability.Set { return u.tokens.Load() }

// Bundle returns the current bundle, nil before the first, and the time until
// which it may be used. That time carries the monotonic clock: compare it with
// time.Now, and a clock that is set back does not prolong it.
func (u *Uplink) Bundle() (b *policy.Bundle, freshUntil time.Time) {
	if r := u.bundle.Load(); r != nil {
		return r.bundle, r.freshUntil
	}
	return nil, time.Time{}
}

// BundleVersion returns the Authority's name of the current bundle, "" before
// the first.
func (u *Uplink) BundleVersion() string {
	if r := u.bundle.Load(); r != nil {
		return r.version
	}
	return ""
}

// Revoked reports whether the token must not be used. It is true for every token
// until the revocations are known.
func (u *Uplink) Revoked(tokenID string) bool { return u.revoked.has(tokenID) }

// Ready reports whether decisions can be taken at all: there is a bundle and the
// revocations are known. Whether the bundle is still fresh and the capability
// still valid is for the stages to check.
func (u *Uplink) Ready() (ok bool, reason verdict.Reason) {
	if u.bundle.Load() == nil {
		return false, verdict.PolicyBundleNotReady
	}
	if !u.revoked.ready() {
		return false, verdict.RevocationCacheNotReady
	}
	return true, verdict.None
}
