//go:build !unix

package main

import (
	"context"
	"errors"
	"os"
)

func (o *authorityOptions) serveRun(context.Context, *os.File) error {
	return errors.New("a run's own Authority needs a Unix system")
}
