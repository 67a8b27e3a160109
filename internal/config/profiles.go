package config

import (
	"maps"
	"slices"
	"strings"

	"firma/internal/fault"
)

// Profile resolves a profile's name to the built-in profile under it and what the
// configuration changes about that: run.defaults, then the profiles it inherits
// from, then its own table; and the same of a file of profiles given by --config
// above them. A name that the configuration does not define is its own base.
func (c *Config) Profile(name string) (base string, p Patch, err error) {
	base, chain, err := c.lineage(name)
	if err != nil {
		return "", Patch{}, err
	}
	for _, r := range c.runs() {
		p.merge(r.Defaults)
	}
	for _, n := range slices.Backward(chain) {
		for _, r := range c.runs() {
			p.merge(r.Profiles[n])
		}
	}
	p.Inherits = base
	return base, p, nil
}

// runs are the [run] tables that apply, low to high.
func (c *Config) runs() []*Run {
	if c.overrides == nil {
		return []*Run{&c.Run}
	}
	return []*Run{&c.Run, c.overrides}
}

// lineage is name and what it inherits from, nearest first, without the built-in
// profile at the end unless the configuration changes it.
func (c *Config) lineage(name string) (base string, chain []string, err error) {
	for !slices.Contains(builtIn, name) {
		parent, defined := c.parent(name)
		if !defined {
			return name, chain, nil
		}
		if slices.Contains(chain, name) {
			return "", nil, fault.New("ConfigValidation", c.Path+": run.profiles."+name+" inherits from itself: "+strings.Join(append(chain, name), " → "), "end the chain in generic or codex")
		}
		chain = append(chain, name)
		name = parent
	}
	return name, append(chain, name), nil
}

// parent is what a profile of the configuration inherits from.
func (c *Config) parent(name string) (parent string, defined bool) {
	parent = "generic"
	for _, r := range c.runs() {
		if p, ok := r.Profiles[name]; ok {
			defined = true
			if p.Inherits != "" {
				parent = p.Inherits
			}
		}
	}
	return parent, defined
}

// ProfileNames are the profiles a run may use, sorted.
func (c *Config) ProfileNames() []string {
	names := slices.Clone(builtIn)
	for _, r := range c.runs() {
		names = slices.AppendSeq(names, maps.Keys(r.Profiles))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// merge lays a higher patch over p: what it sets wins; variables are joined by
// name, lists of names appended, mounts replaced.
func (p *Patch) merge(q Patch) {
	setString(&p.Backend, q.Backend)
	setString(&p.SidecarEndpoint, q.SidecarEndpoint)
	setString(&p.IdentityMode, q.IdentityMode)
	if q.Transparent != nil {
		p.Transparent = q.Transparent
	}
	setString(&p.CATrustMode, q.CATrustMode)
	if p.EnvSet == nil && q.EnvSet != nil {
		p.EnvSet = map[string]string{}
	}
	maps.Copy(p.EnvSet, q.EnvSet)
	p.EnvPassthrough = slices.Concat(p.EnvPassthrough, q.EnvPassthrough)
	p.EnvAllowSecret = slices.Concat(p.EnvAllowSecret, q.EnvAllowSecret)
	p.LocalExecGate = mergeGates(p.LocalExecGate, q.LocalExecGate)
	if q.Mounts != nil {
		p.Mounts = q.Mounts
	}
	if q.Capability.RequestedActions != nil {
		p.Capability.RequestedActions = q.Capability.RequestedActions
	}
	if q.Capability.RefreshRatio != 0 {
		p.Capability.RefreshRatio = q.Capability.RefreshRatio
	}
	setDuration(&p.Capability.Grace, q.Capability.Grace)
	if q.Capability.Source.Kind != "" {
		p.Capability.Source = q.Capability.Source
	}
	setString(&p.Seccomp.SourcePath, q.Seccomp.SourcePath)
	setString(&p.Seccomp.ArtifactDir, q.Seccomp.ArtifactDir)
	setString(&p.Seccomp.RuntimeMode, q.Seccomp.RuntimeMode)
	p.ExecGate.merge(&q.ExecGate)
}

func (g *ExecGate) merge(q *ExecGate) {
	setString(&g.Endpoint, q.Endpoint)
	setString(&g.HITLMode, q.HITLMode)
	setDuration(&g.Timeout, q.Timeout)
	setDuration(&g.HITLMaxWait, q.HITLMaxWait)
	if q.EnforceKnown != nil {
		g.EnforceKnown = q.EnforceKnown
	}
	if q.Allowed != nil {
		g.Allowed = q.Allowed
	}
}

func setDuration(p *Duration, v Duration) {
	if v.set {
		*p = v
	}
}

func setString(p *string, v string) {
	if v != "" {
		*p = v
	}
}
