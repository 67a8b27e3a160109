package main

import (
	"os"
	"reflect"

	"github.com/spf13/cobra"

	"firma/internal/config"
	"firma/internal/fault"
)

// sidecarOptions are the flags of firma sidecar.
type sidecarOptions struct {
	config   string
	stateDir string
	health   string
	connect  string // in place of the host of the Authority's URL

	control      int    // inherited descriptor; only firma run sets it
	report       int    // likewise; only firma sidecar start sets it
	authorityURL string // likewise: the Authority that was started beside it
	log          *logging
}

const sidecarLong = `Serve the enforcement pipeline until SIGINT or SIGTERM, as an HTTP proxy of its
own and for runs that attach (firma run --sidecar tcp://… or unix://…). It needs
a configuration with a [sidecar] section (docs/sidecar.md). With mode = "grpc" in
[sidecar.interceptor] it answers programs that ask before they call, and carries no
calls itself (docs/interceptor.md).

At the end it takes no more calls, waits up to drain_timeout for those under way
and seals its audit log. A second signal cuts the wait short.

Exit status: 0 after a signal; 1 when it could not start or not seal the log.`

const sidecarExample = `  firma sidecar -c firma.toml
  firma sidecar start --detach --config firma.toml
  firma sidecar status
  firma sidecar stop`

const defaultHealth = "127.0.0.1:9000"

func sidecarCommand(log *logging) *cobra.Command {
	o := &sidecarOptions{log: log}
	cmd := &cobra.Command{
		Use: "sidecar", Short: "Run the enforcement pipeline", Long: sidecarLong, Example: sidecarExample,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.serve(cmd.Context()) },
	}
	p := cmd.PersistentFlags()
	p.StringVarP(&o.config, "config", "c", "", "`FILE` configuration (or FIRMA_SIDECAR_CONFIG_FILE; default: discovered)")
	p.StringVar(&o.stateDir, "state-dir", "", "`DIR` where audit logs, keys and markers are kept")
	f := cmd.Flags()
	f.StringVar(&o.health, "health-bind-addr", "", "`ADDR` of GET /healthz (or FIRMA_SIDECAR_HEALTH_BIND_ADDR; default 127.0.0.1:9000)")
	f.StringVar(&o.connect, "authority-connect-addr", "", "`ADDR` dialled in place of the host in [sidecar.authority] url")
	f.StringVar(&o.authorityURL, "authority-url", "", "the Authority started beside this Sidecar")
	_ = f.MarkHidden("authority-url")
	inherited(cmd, &o.control, "control-fd")
	inherited(cmd, &o.report, "report-fd")
	cmd.AddCommand(o.stackCommands()...)
	return cmd
}

// settings reads the configuration: -c, FIRMA_SIDECAR_CONFIG_FILE, the discovered
// one.
func (o *sidecarOptions) settings() (*settings, error) {
	return readSettings(firstOf(o.config, os.Getenv("FIRMA_SIDECAR_CONFIG_FILE")), o.stateDir)
}

// needSection refuses a configuration that says nothing about a Sidecar: it was
// probably meant for something else.
func needSection(c *config.Config) error {
	if !reflect.DeepEqual(c.Sidecar, config.Sidecar{}) {
		return nil
	}
	if c.Path == "" {
		return fault.New("ConfigValidation", "there is no configuration with a [sidecar] section", "write one and name it: firma sidecar -c firma.toml")
	}
	return fault.New("ConfigValidation", c.Path+" has no [sidecar] section, or an empty one", "add one to it (docs/sidecar.md), or name another file with -c")
}
