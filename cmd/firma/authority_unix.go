//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"firma/internal/authority"
	"firma/internal/control"
)

// serveRun is the Authority of one run, which tells its launcher what goes wrong
// on the control channel.
func (o *authorityOptions) serveRun(ctx context.Context, f *os.File) error {
	signal.Ignore(syscall.SIGPIPE) // see serveRun of the Sidecar
	log, _, err := o.log.open("authority", os.Stderr)
	if err != nil {
		return err
	}
	ctl, err := control.New(f)
	if err != nil {
		return err
	}
	if authority.ServeRun(ctx, ctl, log) != nil {
		return exitError(1)
	}
	return nil
}
