//go:build linux

package launch

import (
	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/trust"
)

// trustCA makes or loads the authority behind the run's interception and shows
// its certificate inside. Only the Sidecar gets the key.
func (r *run) trustCA() error {
	if r.opts.Sidecar != (Endpoint{}) {
		return nil
	}
	var err error
	if r.ca, err = instruct.RunCA(r.opts.Config); err != nil || r.ca == nil {
		if err != nil && fault.NameOf(err) == "" {
			err = fault.Wrap(err, "CAInvalid", "no certificate authority could be made for the run", "run again")
		}
		return err
	}
	r.view.Env, err = trust.Apply(&r.view.Spec, r.view.Env, r.ca.CertPEM(), r.opts.CATrustMode)
	return err
}
