package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/ca"
	"firma/internal/fault"
	"firma/internal/instruct"
)

// caOptions are the flags of firma ca.
type caOptions struct {
	config, stateDir, output string
}

const caLong = `The certificate authority of a Sidecar that stands alone: it signs the
certificates that clients see on connections that are looked into. It is made at
the Sidecar's first start. A run without a configured one has an authority of its
own, which ends with the run and is kept nowhere.`

func caCommand() *cobra.Command {
	var o caOptions
	show := &cobra.Command{Use: "show", Short: "Show the authority's certificate", Args: arguments(cobra.NoArgs),
		Example: "  firma ca show",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.show(cmd.OutOrStdout()) }}
	export := &cobra.Command{Use: "export", Short: "Write the authority's certificate as PEM, never its key", Args: arguments(cobra.NoArgs),
		Example: "  firma ca export -o firma-ca.crt",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.export(cmd.OutOrStdout()) }}
	export.Flags().StringVarP(&o.output, "output", "o", "", "`FILE` to write (default: standard output)")
	rotate := &cobra.Command{Use: "rotate", Short: "Replace the authority by a new one", Args: arguments(cobra.NoArgs),
		Long:    "Replace the authority by a new one. The old pair is kept with .old added to its\nnames. Sidecars that are running go on with the old one until they are restarted,\nand whoever trusted its certificate must trust the new one.",
		Example: "  firma ca rotate",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.rotate(cmd.OutOrStdout()) }}
	for _, sub := range []*cobra.Command{show, export, rotate} {
		f := sub.Flags()
		f.StringVarP(&o.config, "config", "c", "", "`FILE` configuration, TOML or YAML (default: discovered)")
		f.StringVar(&o.stateDir, "state-dir", "", "`DIR` where a Sidecar keeps its state")
	}
	cmd := group("ca", "Look at, export or replace the certificate authority", show, export, rotate)
	cmd.Long = caLong
	return cmd
}

// load reads the authority; it makes none.
func (o *caOptions) load() (c *ca.CA, cert string, err error) {
	s, err := readSettings(o.config, o.stateDir)
	if err != nil {
		return nil, "", err
	}
	cert, key := instruct.CAFiles(s.cfg, s.state)
	if _, err := os.Lstat(cert); os.IsNotExist(err) {
		return nil, "", fault.New("CAMissing", "there is no certificate authority at "+cert, "it is made at a Sidecar's first start; `firma ca rotate` makes one now")
	}
	c, err = ca.Load(cert, key)
	return c, cert, err
}

func (o *caOptions) show(out io.Writer) error {
	c, path, err := o.load()
	if err != nil {
		return err
	}
	x := c.Certificate()
	_, err = fmt.Fprintf(out, "subject      %s\nsha256       %s\nvalid        %s to %s\ncertificate  %s\n",
		x.Subject, c.Fingerprint(), x.NotBefore.UTC().Format(time.RFC3339), x.NotAfter.UTC().Format(time.RFC3339), path)
	return err
}

func (o *caOptions) export(out io.Writer) error {
	c, _, err := o.load()
	if err != nil {
		return err
	}
	if o.output == "" {
		_, err = out.Write(c.CertPEM())
		return err
	}
	if err := os.WriteFile(o.output, c.CertPEM(), 0o644); err != nil {
		return fault.Wrap(err, "CAExportFailed", "the certificate could not be written to "+o.output, "name a file in an existing directory that you may write, with --output")
	}
	return nil
}

func (o *caOptions) rotate(out io.Writer) error {
	s, err := readSettings(o.config, o.stateDir)
	if err != nil {
		return err
	}
	cert, _ := instruct.CAFiles(s.cfg, s.state)
	if filepath.Base(cert) != ca.CertFile || s.cfg.Sidecar.Interceptor.HTTPSMitm.CACertPath != "" {
		return fault.New(fault.ArgumentInvalid, "the configured pair "+cert+" is not firma's to replace", "replace the files yourself, or configure [sidecar.ca].dir")
	}
	c, err := ca.Rotate(filepath.Dir(cert))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "new authority sha256 %s in %s\nrestart running Sidecars; whoever trusted the old certificate must trust the new one (firma ca export)\n", c.Fingerprint(), cert)
	return nil
}
