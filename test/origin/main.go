// Command origin runs the test origins by hand and for the demo: plain HTTP and
// TLS on loopback, git under git.test, every connection and request logged. It
// prints one JSON line with its addresses once it accepts, and ends on SIGINT,
// SIGTERM or, with -until-eof, when its input ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"firma/internal/testkit/gitserve"
	"firma/internal/testkit/origin"
)

type options struct {
	plain, tls, certs, log, git string
	untilEOF                    bool
}

func main() {
	var o options
	flag.StringVar(&o.plain, "plain", "127.0.0.1:0", "`address` of plain HTTP; empty: not served")
	flag.StringVar(&o.tls, "tls", "127.0.0.1:0", "`address` of TLS; empty: not served")
	flag.StringVar(&o.certs, "certs", "", "`directory` of ca.pem, server.pem and server.key, made when absent")
	flag.StringVar(&o.log, "log", "", "`file` of records, one JSON object per line, appended to")
	flag.StringVar(&o.git, "git", "", "`directory` of bare repositories to serve; demo.git is made in an empty one")
	flag.BoolVar(&o.untilEOF, "until-eof", false, "end when standard input ends")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "origin:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conf := origin.Options{Plain: o.plain, TLS: o.tls, CertDir: o.certs}
	if o.log != "" {
		f, err := os.OpenFile(o.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		conf.Log = f
	}
	if conf.Git, err = gitHandler(o.git); err != nil {
		return err
	}
	s, err := origin.Start(conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := announce(s); err != nil {
		return err
	}
	if o.untilEOF {
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	}
	<-ctx.Done()
	return nil
}

func gitHandler(root string) (http.Handler, error) {
	if root == "" {
		return nil, nil
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "demo.git")); os.IsNotExist(err) {
		if err := gitserve.NewRepo(root, "demo", "hello from the far side\n"); err != nil {
			return nil, err
		}
	}
	return gitserve.Handler(root)
}

func announce(s *origin.Origin) error {
	ready := map[string]string{}
	if s.PlainAddr().IsValid() {
		ready["plain"] = s.PlainAddr().String()
	}
	if s.TLSAddr().IsValid() {
		ready["tls"] = s.TLSAddr().String()
	}
	return json.NewEncoder(os.Stdout).Encode(ready)
}
