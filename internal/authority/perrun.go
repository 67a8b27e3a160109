//go:build unix

package authority

import (
	"context"
	"log/slog"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/policy"
	"firma/internal/wire"
)

// developer is the only profile of the Mini Authority: any class may be asked
// for, and the policy bundle decides what is done with it.
const developer = "developer"

const permitIssuance = "permit (principal, action, resource);\n"

// ServeRun is the Mini Authority of one run: it learns on ctl what to be, reports
// there when it listens, and ends when ctl does, which is when its launcher does.
// The signing key lives in this process only.
func ServeRun(ctx context.Context, ctl *control.Conn, log *slog.Logger) error {
	m, _, err := ctl.Recv()
	if err != nil {
		return err
	}
	if m.Kind != control.KindStart || m.Authority == nil {
		return fault.New("Internal", "the launcher sent something other than a start message", "")
	}
	if err := serveRun(ctx, ctl, m.Authority, log); err != nil {
		_ = ctl.Send(control.Message{Kind: control.KindFailed, Failure: control.FailureOf(err)})
		return err
	}
	return nil
}

func serveRun(ctx context.Context, ctl *control.Conn, s *control.AuthorityStart, log *slog.Logger) error {
	if s.Profile != developer {
		return fault.New("AuthorityUnknownProfile", "there is no Authority profile named "+s.Profile, "use --authority-profile developer")
	}
	text, err := bundleText(s)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	issuance := s.IssuancePolicies
	if len(issuance) == 0 {
		issuance = []byte(permitIssuance)
	}
	a, err := New(Config{
		Policies: text, PoliciesFrom: s.PolicyDir, IssuancePolicies: issuance, IssuanceFrom: s.IssuanceDir, Schema: s.Schema,
		RevocationFile: s.RevocationFile, MaxTTL: s.MaxTTL, BundleTTL: s.BundleTTL,
		PreSharedKey: wire.PreSharedKey(s.PreSharedKey), Log: log,
		Ready: func(r Report) {
			_ = ctl.Send(control.Message{Kind: control.KindReady, AuthReady: &control.AuthorityReady{
				URL: r.URL(), PublicKey: r.PublicKey, BundleVersion: r.BundleVersion,
			}})
		},
	})
	if err != nil {
		return err
	}
	go func() {
		_, _, _ = ctl.Recv() // nothing more is sent: it returns when the launcher is gone
		cancel()
	}()
	return a.Run(ctx)
}

// bundleText is the posture or the operator's policies, and a permit for each
// --allow.
func bundleText(s *control.AuthorityStart) ([]byte, error) {
	text := s.Policies
	if len(text) == 0 {
		posture, err := policy.Posture(s.Posture)
		if err != nil {
			return nil, err
		}
		text = posture
	}
	for _, host := range s.Permits {
		text = append(append(text[:len(text):len(text)], '\n'), policy.Allow(host)...)
	}
	return text, nil
}
