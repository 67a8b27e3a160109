//go:build linux

package launch

import (
	"firma/internal/launch/gate"
	"firma/internal/localexec"
)

// commandGate is what --print-effective-config says about the command gate.
type commandGate struct {
	Endpoint   string   `json:"endpoint"`
	ServedBy   string   `json:"served_by"` // "the run's own Sidecar" or "somebody else"
	Scope      string   `json:"scope"`     // "launch", the only one built
	Timeout    string   `json:"timeout"`
	Mode       string   `json:"hitl_mode"`
	MaxWait    string   `json:"hitl_max_wait,omitempty"`
	Default    string   `json:"default_action,omitempty"`
	Approvals  string   `json:"management_socket,omitempty"`
	Executable string   `json:"executable,omitempty"` // what it would be asked about
	Known      []string `json:"allowed_executables,omitempty"`
}

// ofGate says whom a launch would ask, and about what. Nobody is asked.
func (e *Effective) ofGate(r *run) {
	r.ids.sandbox = "SANDBOX_ID"
	if err := r.planGate(); err != nil {
		e.problem(err)
		return
	}
	g := r.keeper.gate
	if g == nil {
		return
	}
	c := &commandGate{Endpoint: g.Endpoint.String(), ServedBy: "somebody else", Scope: "launch", Timeout: g.Timeout.String(), Mode: string(g.Mode)}
	if g.Mode == localexec.AsyncToken {
		c.MaxWait = g.MaxWait.String()
	}
	if s := r.keeper.served; s != nil {
		c.ServedBy, c.Approvals, c.Default = "the run's own Sidecar", s.Management, firstOf(s.DefaultAction, string(localexec.Deny))
	}
	if g.EnforceKnown {
		c.Known = append([]string{}, g.Known...)
	}
	e.LocalExec = c
	if err := r.hideGate(); err != nil {
		e.problem(err)
	}
	if len(r.opts.Command) == 0 {
		return
	}
	p, err := gate.Find(&r.view.Spec, r.opts.Command[0], r.view.Dir, pathOf(r.view.Env))
	if err != nil {
		e.problem(err)
		return
	}
	c.Executable = p.Host
}
