//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syscall"
)

// run measures what is asked for and prints tables.
func run(o options) error {
	raiseLimit()
	var err error
	for _, p := range []*string{&o.firma, &o.peers} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "firma-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e := &env{options: o, dir: dir}
	end, err := e.begin()
	if err != nil {
		return err
	}
	defer end()
	if o.against != "" {
		other, err := filepath.Abs(o.against)
		if err != nil {
			return err
		}
		proxies = append(proxies, beside(other))
	}
	parts := []struct {
		name string
		run  func(*env) error
	}{{"proxy", (*env).measureProxies}, {"intercept", (*env).measureInterceptors}, {"idle", (*env).measureIdle}, {"sandbox", (*env).measureSandboxes}}
	var errs []error
	for _, p := range parts {
		if slices.Contains(strings.Split(o.parts, ","), p.name) {
			errs = append(errs, p.run(e))
		}
	}
	return errors.Join(errs...)
}

// wanted reports whether a subject was asked for; firma always is.
func (e *env) wanted(name string) bool {
	return e.only == "" || name == "firma" || name == against || slices.Contains(strings.Split(e.only, ","), name)
}

// raiseLimit allows for two descriptors per idle tunnel in the processes started
// from here, as far as this account may.
func raiseLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return
	}
	want := l
	want.Cur, want.Max = max(l.Max, 65536), max(l.Max, 65536)
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}

// startAll starts the subjects; those that can't be had are named and left out.
func (e *env) startAll(from []maker) ([]*subject, func()) {
	var all []*subject
	for _, m := range from {
		if !e.wanted(m.name) {
			continue
		}
		s, err := e.start(m)
		if err != nil {
			fmt.Printf("  not measured: %v\n", err)
			continue
		}
		all = append(all, s)
	}
	return all, func() {
		for _, s := range all {
			s.stop()
		}
	}
}
