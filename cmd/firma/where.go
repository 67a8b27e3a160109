package main

import (
	"os"

	"firma/internal/config"
)

// here is the place a configuration is searched from; explicit is the file named
// on the command line.
func here(explicit string) config.Where {
	dir, _ := os.Getwd() // "" finds nothing by walking up, and relative paths fail later
	home, _ := os.UserHomeDir()
	return config.Where{Explicit: explicit, Dir: dir, Home: home, Getenv: os.Getenv}
}

// settings are the configuration and the state directory of a command that is not
// a run.
type settings struct {
	cfg   *config.Config
	where config.Where
	state string
}

func readSettings(explicit, stateDir string) (*settings, error) {
	s := &settings{where: here(explicit)}
	var err error
	if s.state, err = config.StateDir(s.where, stateDir); err != nil {
		return nil, err
	}
	s.where.State = s.state
	if s.cfg, err = config.Discover(s.where); err != nil {
		return nil, err
	}
	return s, s.cfg.OverrideAuthority(os.Getenv, s.where.Dir)
}
