//go:build linux

package launch

import (
	"os"

	"firma/internal/profile"
	"firma/internal/sandbox/seccomp/artifact"
)

// SeccompPlan is the run's syscall filter: which policy, and where its artifact
// belongs.
func (o *Options) SeccompPlan() (*artifact.Plan, error) {
	s, err := o.Seccomp.FromEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	return artifact.New(s, o.StateDir)
}

// loadFilter takes the bytes of the artifact that were verified just now. Nothing
// of it is read from disk after this.
func (r *run) loadFilter() error {
	plan, err := r.opts.SeccompPlan()
	if err != nil {
		return err
	}
	r.filter, err = plan.Launch()
	return err
}

// View is what the run's profile shows of this host. It starts nothing.
func View(o Options) (*profile.View, error) {
	r := &run{opts: o}
	host, err := r.host()
	if err != nil {
		return nil, err
	}
	return o.Profile.Resolve(host)
}
