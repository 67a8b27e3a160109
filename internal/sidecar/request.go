//go:build unix

package sidecar

import (
	"firma/internal/action"
	"firma/internal/control"
	"firma/internal/sidecar/uplink"
)

// request is the capability a run asks for: every class, unless its profile asks
// for less.
func request(s *control.SidecarStart) *uplink.Request {
	r := &uplink.Request{AgentID: s.AgentID, SessionID: s.SessionID, RefreshRatio: s.RefreshRatio, RefreshGrace: s.RefreshGrace}
	if s.Actions == nil {
		r.Actions = action.All()
	}
	for _, a := range s.Actions {
		r.Actions = append(r.Actions, action.Class(a))
	}
	return r
}
