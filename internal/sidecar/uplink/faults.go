package uplink

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"firma/internal/fault"
	"firma/internal/wire"
)

// explain turns an error of the line into a fault. A fault stays what it is.
func (u *Uplink) explain(err error) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	if errors.Is(err, errUnproven) {
		return fault.Wrap(err, "AuthorityNotAuthentic",
			"what listens at "+u.cfg.URL+" is not the Authority this Sidecar was told to trust",
			"check public_key_path in [sidecar.authority]; if it is right, find out which program took the address")
	}
	if errors.Is(err, errNotAuthority) {
		return fault.Wrap(err, "AuthorityTransportAmbiguous", "something answers at "+u.cfg.URL+", but not as a firma Authority",
			"check the URL; an Authority of another make needs allow_unproven")
	}
	return u.explainCode(err)
}

func (u *Uplink) explainCode(err error) error {
	var c *connect.Error
	if !errors.As(err, &c) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return u.unreachable(err)
	}
	switch c.Code() {
	case connect.CodePermissionDenied, connect.CodeUnauthenticated:
		return fault.New("AuthorityAccessDenied", "the Authority at "+u.cfg.URL+" does not know this Sidecar's pre-shared key",
			"give both the same key: pre_shared_key_path or pre_shared_key_env in [sidecar.authority.credentials]")
	case connect.CodeInvalidArgument:
		return fault.New("AuthorityRequestRefused", "the Authority at "+u.cfg.URL+" refused the request: "+quoted(c.Message()),
			"correct the request; the Authority may be of another release")
	case connect.CodeResourceExhausted:
		return fault.Wrap(err, "PolicyInvalid", fmt.Sprintf("the Authority at %s sent more than a Sidecar takes", u.cfg.URL),
			fmt.Sprintf("keep policies and schema under %d bytes each", wire.MaxBundleBytes))
	case connect.CodeUnimplemented, connect.CodeUnknown, connect.CodeInternal:
		return fault.Wrap(err, "AuthorityTransportAmbiguous", "something answers at "+u.cfg.URL+", but not as a firma Authority", "check the URL")
	}
	return u.unreachable(err)
}

func (u *Uplink) unreachable(err error) error {
	return fault.Wrap(err, "AuthorityUnreachable", "the Authority at "+u.cfg.URL+" does not answer",
		"start it with `firma authority`, or name another with --authority URL")
}

// quoted makes text of the other end fit for a terminal: at most 200 bytes,
// without control characters.
func quoted(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Trim(fmt.Sprintf("%+q", s), `"`)
}
