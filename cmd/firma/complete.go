package main

import (
	"os"
	"slices"

	"github.com/spf13/cobra"

	"firma/internal/config"
	"firma/internal/profile"
)

// complete tells shells what can stand where (firma completion SHELL).
func complete(cmd *cobra.Command) {
	words := map[string][]string{
		"backend":           {"bwrap", "vz", "wsl2", "firecracker"},
		"identity-mode":     {"sandbox-user", "host-user"},
		"authority":         {"local", "http://", "https://"},
		"authority-profile": {"developer"},
		"sidecar":           {"local", "tcp://", "unix:///"},
		"log-filter":        {"off", "error", "warn", "info", "debug", "trace"},
	}
	files := map[string][]string{
		"config": {"toml", "yaml", "yml"}, "sidecar-config": {"toml", "yaml", "yml"}, "capability-file": {"toml"}, "policy": {"toml"},
		"key": {"pem"}, "schema": {"cedarschema"},
	}
	for name, values := range words {
		if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	for name, extensions := range files {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.MarkFlagFilename(name, extensions...)
		}
		if cmd.PersistentFlags().Lookup(name) != nil {
			_ = cmd.MarkPersistentFlagFilename(name, extensions...)
		}
	}
	if cmd.Flags().Lookup("profile") != nil {
		_ = cmd.RegisterFlagCompletionFunc("profile", profileNames)
	}
	for _, sub := range cmd.Commands() {
		complete(sub)
	}
}

// profileNames are the built-in profiles and those of the configuration, as far as
// that can be read.
func profileNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	names := []string{profile.Generic, profile.Codex}
	file, _ := cmd.Flags().GetString("config")
	dir, _ := os.Getwd()
	home, _ := os.UserHomeDir()
	w := config.Where{Explicit: file, Dir: dir, Home: home, Getenv: os.Getenv}
	var err error
	if w.State, err = config.StateDir(w, ""); err == nil {
		if c, err := config.Discover(w); err == nil {
			for name := range c.Run.Profiles {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
