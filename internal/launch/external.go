//go:build linux

package launch

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"firma/internal/attach"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/launch/relay"
	"firma/internal/secretfile"
)

// external is a Sidecar that somebody else started. The sandbox's sockets stay
// with the launcher, which passes every connection on, unread.
type external struct {
	run   *attach.Run
	where Endpoint
	in    chan control.Message
	gone  chan struct{} // closed when the Sidecar has left
	relay *relay.Relay
}

// attachSidecar joins the run to the Sidecar at the configured endpoint.
func (r *run) attachSidecar() (*external, error) {
	e := r.opts.Sidecar
	secret, serr := "", error(nil)
	if e.Network == "tcp" {
		secret, serr = secretfile.Load(r.opts.Config.AttachSecret(r.opts.StateDir))
	}
	a, err := attach.Dial(context.Background(), attach.Endpoint(e), secret)
	if fault.NameOf(err) == "SidecarAccessDenied" && serr != nil {
		return nil, fault.Wrap(serr, "SidecarAccessDenied", "the Sidecar at "+e.String()+" wants to know a secret that this account can't read",
			"use the account that started it, or name its file: shared_secret_path in [sidecar.interceptor]")
	}
	if err != nil {
		return nil, err
	}
	runtime.SetDefaultGOMAXPROCS() // here the launcher carries all that the agent sends
	x := &external{run: a, where: e, in: make(chan control.Message), gone: make(chan struct{})}
	x.relay = relay.New(a, r.opts.Log)
	go x.read()
	return x, nil
}

func (x *external) read() {
	defer close(x.gone)
	for {
		m, err := x.run.Recv()
		if err != nil {
			return
		}
		x.in <- m
	}
}

// attachMessage tells the Sidecar whose run this is, and what of the sandbox's will
// come. What it enforces is its own matter.
func (r *run) attachMessage() (*control.Attach, error) {
	a := &control.Attach{SandboxID: r.ids.sandbox, SessionID: r.ids.session, AgentID: r.ids.agent, Profile: r.view.Name, Transparent: r.opts.Transparent,
		Transparent6: r.opts.Transparent && r.socks[control.SocketCapture6] != nil}
	if f := r.opts.CapabilityFile; f != "" {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fault.Wrap(err, "CapabilityFileUnreadable", "the capability seed "+f+" can't be read", "check the path")
		}
		a.Seeds = []control.RulesFile{{Name: filepath.Base(f), Data: data}}
	}
	var err error
	a.Posture, err = json.Marshal(r.posture())
	return a, err
}

func (x *external) send(m control.Message, files ...*os.File) error {
	if m.Kind == control.KindSockets {
		socks, err := control.NameSockets(m.Sockets, files)
		if err != nil {
			return err
		}
		return x.relay.Serve(socks)
	}
	if err := x.run.Send(m); err != nil {
		return x.died()
	}
	return nil
}

func (x *external) expect(k control.Kind) (control.Message, error) {
	select {
	case m := <-x.in:
		switch {
		case m.Kind == control.KindFailed && m.Failure != nil:
			return m, m.Failure.Err()
		case m.Kind != k:
			return m, fmt.Errorf("the Sidecar at %s: expected message %q, got %q", x.where, k, m.Kind)
		}
		return m, nil
	case <-x.gone:
		return control.Message{}, x.died()
	}
}

func (x *external) lost() <-chan struct{} { return x.gone }

func (x *external) died() error {
	return fault.New("SidecarLost", "the Sidecar at "+x.where.String()+" ended, or dropped this run",
		"the run was ended, since nothing may leave the sandbox without the Sidecar; see its log, and run again once it is back")
}

// stop leaves the Sidecar, which ends the session.
func (x *external) stop() {
	x.kill()
	for {
		select {
		case <-x.in:
		case <-x.gone:
			x.relay.Close()
			return
		}
	}
}

func (x *external) kill() { x.run.Close() }
