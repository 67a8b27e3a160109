//go:build linux

package launch

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"path/filepath"

	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/trust"
)

// trustCA makes, loads or learns the authority behind the run's interception and
// shows its certificate inside. Only the Sidecar has the key.
func (r *run) trustCA() error {
	cert, err := r.authorityCert()
	if err != nil || cert == nil {
		return err
	}
	r.view.Env, err = trust.Apply(&r.view.Spec, r.view.Env, cert, r.opts.CATrustMode, filepath.Join(r.opts.StateDir, "cache"))
	return err
}

// authorityCert is PEM; nil where nothing is looked into.
func (r *run) authorityCert() ([]byte, error) {
	if r.opts.Sidecar != (Endpoint{}) && r.sidecar != nil {
		return r.sidecarsCert()
	}
	var err error
	if r.ca, err = instruct.RunCA(r.opts.Config); err != nil || r.ca == nil {
		if err != nil && fault.NameOf(err) == "" {
			err = fault.Wrap(err, "CAInvalid", "no certificate authority could be made for the run", "run again")
		}
		return nil, err
	}
	return r.ca.CertPEM(), nil
}

// sidecarsCert is what a Sidecar that the run has attached to says first.
func (r *run) sidecarsCert() ([]byte, error) {
	m, err := r.sidecar.expect(control.KindTrust)
	if err != nil {
		return nil, err
	}
	if m.Trust == nil || m.Trust.CACert == nil {
		return nil, nil
	}
	c, err := x509.ParseCertificate(m.Trust.CACert)
	if err == nil && !c.IsCA {
		err = errors.New("it is not an authority's")
	}
	if err != nil {
		return nil, fault.Wrap(err, "CAInvalid", "the certificate that the Sidecar at "+r.opts.Sidecar.String()+" issues from is not usable",
			"look at it with `firma ca show` where the Sidecar runs")
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), nil
}
