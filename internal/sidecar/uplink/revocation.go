package uplink

import (
	"context"
	"fmt"
	"strconv"

	"connectrpc.com/connect"

	"firma/internal/fault"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
)

// keepRevocations follows the revocation stream until the uplink ends, and
// reports when the first replay is complete or that it failed. Every stream
// replays everything: times of another clock decide nothing.
func (u *Uplink) keepRevocations(first func(error)) {
	wait := backoff{min: u.cfg.MinBackoff, max: u.cfg.MaxBackoff}
	for {
		err := u.watchRevocations(func() {
			u.revoked.replayed()
			wait.reset()
			first(nil)
		})
		first(err)
		if u.life.Err() != nil {
			return
		}
		if u.cfg.ClosedOnDisconnect {
			u.revoked.disconnected()
		}
		u.cfg.Log.Warn("revocation stream interrupted; those known stay", "error", err)
		if !u.sleep(wait.next()) {
			return
		}
	}
}

// watchRevocations follows one stream to its end, never nil, and calls complete
// once it has been replayed.
func (u *Uplink) watchRevocations(complete func()) error {
	ctx, cancel := context.WithCancel(u.life)
	defer cancel()
	s, err := u.link.session(ctx)
	if err != nil {
		return u.explain(err)
	}
	stream, err := s.authority.WatchRevocations(ctx, connect.NewRequest(&firmav1.WatchRevocationsRequest{Credentials: u.credentials()}))
	if err != nil {
		return u.explain(err)
	}
	return u.explain(u.followRevocations(follow(ctx, u, stream), s.proven, complete))
}

// followRevocations adds ids until the stream ends. The replay is complete when
// as many have come as the Authority announced. One that announces nothing is
// waited for by time, and accepted only if it may be of another make.
func (u *Uplink) followRevocations(events *feed[firmav1.RevocationEvent], ours bool, complete func()) error {
	grace := u.cfg.After(u.cfg.RevocationGrace)
	opened, announced := events.opened, false
	replay, seen := 0, 0
	for done := false; ; {
		select {
		case <-opened:
			opened = nil
			if replay, announced = replayLength(events.header.Get(wire.HeaderReplay)); announced {
				grace = nil
			}
		case e, ok := <-events.messages:
			if !ok {
				return events.err
			}
			if !u.revoked.add(e.GetTokenId()) {
				return u.tooMany()
			}
			seen++
		case <-grace:
			switch {
			case !ours:
				announced, replay, grace = true, seen, nil
			case opened == nil:
				return errNotAuthority
			default: // slow, not silent
				grace = u.cfg.After(u.cfg.RevocationGrace)
			}
		}
		if announced && !done && seen >= replay {
			done = true
			complete()
		}
	}
}

// replayLength reads wire.HeaderReplay. A nonsensical one is as good as none.
func replayLength(header string) (n int, ok bool) {
	n, err := strconv.Atoi(header)
	return n, err == nil && n >= 0
}

func (u *Uplink) tooMany() error {
	return fault.New("RevocationCacheFull", fmt.Sprintf("the Authority has revoked more than %d tokens, more than this Sidecar holds: every call is refused", u.revoked.limit),
		"run `firma authority revocations compact` and restart the Sidecar, or raise [sidecar.revocation] capacity")
}
