package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/config"
	"firma/internal/doctor"
	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/profile"
)

// exitNotExamined is the status of a doctor that could not do its work.
const exitNotExamined = 2

func (o *doctorOptions) run(cmd *cobra.Command) error {
	opts, err := o.settle()
	if err != nil {
		report(cmd.ErrOrStderr(), err)
		return exitError(exitNotExamined)
	}
	r := doctor.Run(cmd.Context(), opts)
	if o.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return exitError(exitNotExamined)
		}
	} else {
		r.Print(cmd.OutOrStdout())
	}
	if r.ExitCode != 0 {
		return exitError(r.ExitCode)
	}
	return nil
}

// settle asks for the options of the run that firma run would start now.
func (o *doctorOptions) settle() (doctor.Options, error) {
	if o.timeout <= 0 {
		return doctor.Options{}, fault.New(fault.ArgumentInvalid, "--timeout-ms must be positive", "leave it out, or write a number of milliseconds")
	}
	opts := doctor.Options{Version: versionText(), Program: "/proc/self/exe", DataDir: dataDir(os.Getenv), Timeout: time.Duration(o.timeout) * time.Millisecond}
	run := runOptions{config: o.config, profile: o.profile, stateDir: o.stateDir, log: o.log}
	state, err := config.StateDir(here(o.config), o.stateDir)
	if err != nil {
		return opts, err
	}
	for flag, value := range map[string]string{"--config": o.config, "--profile": o.profile} {
		if value != "" {
			opts.Flags = append(opts.Flags, flag, value)
		}
	}
	s, err := run.settle([]string{"true"})
	if err != nil {
		opts.Invalid = err
		opts.Launch = launch.Options{Command: []string{"true"}, Config: &config.Config{}, Profile: profile.Profile{Name: profile.Generic}, StateDir: state, Transparent: true}
		return opts, nil
	}
	opts.Launch = s.options
	opts.Authority, _ = s.authority.Configured() // settle has looked at the error
	return opts, nil
}

// dataDir is where `firma config` keeps keys: $XDG_DATA_HOME/firma, or below home.
func dataDir(getenv func(string) string) string {
	if x := getenv("XDG_DATA_HOME"); filepath.IsAbs(x) {
		return filepath.Join(x, "firma")
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".local", "share", "firma")
}
