//go:build linux

package launch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
	"firma/internal/instruct"
	"firma/internal/launch/gate"
	"firma/internal/localexec"
	"firma/internal/localexec/line"
)

// keeper is what a run knows of its command gate.
type keeper struct {
	gate    *gate.Gate         // nil: nobody is asked
	served  *control.LocalExec // by the run's own Sidecar; nil: somebody else serves it
	ownDir  string             // of this run only
	budget  string
	program *gate.Program // what the gate is asked about
	allowed bool          // it said so
}

// planGate settles which gate is asked. It starts nothing.
func (r *run) planGate() error {
	required, err := gate.Required(os.Getenv(gate.RequireVar))
	if err != nil {
		return err
	}
	if err := r.keeper.plan(&r.opts, r.ids.sandbox); err != nil {
		return err
	}
	if r.keeper.gate == nil && required {
		return gate.Missing()
	}
	r.keeper.budget = os.Getenv(gate.BudgetVar)
	return nil
}

func (k *keeper) plan(o *Options, sandbox string) error {
	table, served := o.LocalExec, o.Config.Sidecar.LocalExec
	own := o.Sidecar == (Endpoint{})
	if table == nil && (served == nil || !own) {
		return nil
	}
	if table == nil { // a gate that is served and not asked would be a surprise
		table = &config.LocalExecGate{}
	}
	endpoint := table.Endpoint
	if own && served != nil {
		k.served = instruct.LocalExec(o.Config, o.StateDir, sandbox)
		k.ownDir = instruct.RunDir(o.StateDir, sandbox)
		switch ask := "unix:" + k.served.Socket; endpoint {
		case "", ask, "unix://" + k.served.Socket:
			endpoint = ask
		default:
			k.served = nil // somebody else's gate is asked
		}
	}
	if !own && endpoint == "" {
		endpoint = besideSidecar(o.Sidecar, served)
	}
	at, err := line.ParseAddress(endpoint)
	if err != nil {
		return noEndpoint(o, err)
	}
	return k.settle(table, at)
}

func besideSidecar(s Endpoint, served *config.LocalExec) string {
	if served != nil && served.SocketPath != "" {
		return "unix:" + served.SocketPath
	}
	at, _ := config.EndpointOf(s.String())
	return at
}

func noEndpoint(o *Options, err error) error {
	what := "sidecar_local_exec of profile " + o.Profile.Name
	if o.Sidecar == (Endpoint{}) && o.LocalExec != nil && o.LocalExec.Endpoint == "" {
		return fault.New("ConfigValidation", what+" names no endpoint, and there is no [sidecar.local_exec] that the run's own Sidecar would serve",
			"name one, as in endpoint = \"unix:/run/user/1000/gate.sock\"; or add a [sidecar.local_exec] table")
	}
	return fault.Wrap(err, "ConfigValidation", what+" has no usable endpoint", "name one, as in endpoint = \"unix:/run/user/1000/gate.sock\"")
}

func (k *keeper) settle(t *config.LocalExecGate, at line.Address) error {
	k.gate = &gate.Gate{
		Endpoint: at, Own: k.served != nil, Timeout: t.Timeout.Or(gate.DefaultTimeout), MaxWait: t.HITLMaxWait.Or(gate.DefaultMaxWait),
		Mode:         localexec.Mode(firstOf(t.HITLMode, string(localexec.SyncWait))),
		EnforceKnown: t.Enforces(), Known: gate.Canonical(t.AllowedExecutables),
	}
	if t.Enforces() && len(t.AllowedExecutables) == 0 {
		return fault.New("ConfigValidation", "sidecar_local_exec.enforce_known_executables is on, and allowed_executables is empty", "name the agent's executable in allowed_executables")
	}
	return nil
}

// hideGate refuses a profile that would show the agent a socket of the gate: the
// agent has the operator's uid, so a socket it can open would take it for one.
func (r *run) hideGate() error {
	if r.keeper.gate == nil {
		return nil
	}
	var paths []string
	if at := r.keeper.gate.Endpoint; at.Network == "unix" {
		paths = append(paths, at.Addr)
	}
	if s := r.keeper.served; s != nil {
		paths = append(paths, s.Socket, s.Management)
	}
	for _, p := range paths {
		if m, shown := gate.Shown(&r.view.Spec, p); shown {
			return fault.New(gate.Name, "the command gate's socket "+p+" would be visible to the agent, through the mount of "+m.Source+"; nothing was executed",
				"move the socket out of what the profile shows, or leave [sidecar.local_exec].socket_path out so that it lies in the state directory")
		}
	}
	return nil
}

// askGate asks whether the agent's command may be executed, and holds the launch
// until the answer is there. The start's own deadline rests meanwhile: the gate has
// its own.
func (r *run) askGate(ctx context.Context) error {
	if r.keeper.gate == nil {
		return nil
	}
	r.hold(true)
	r.deadline.Stop()
	err := r.ask(ctx)
	r.deadline.Reset(r.opts.StartupTimeout)
	if err != nil {
		r.recordRefusal(err)
	}
	r.hold(false)
	return err
}

// hold keeps an interrupted start from being killed while the gate is asked: the
// question ends at once, the refusal is recorded and the log sealed.
func (r *run) hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = on
}

func (r *run) ask(ctx context.Context) error {
	command := r.opts.Command
	p, err := gate.Find(&r.view.Spec, command[0], r.view.Dir, pathOf(r.view.Env))
	if err != nil {
		return err
	}
	q := localexec.Request{
		Executable: p.Host, Args: command[1:], Profile: r.view.Name, BudgetStateRef: r.keeper.budget,
		SandboxID: r.ids.sandbox, SessionID: r.ids.session, AgentID: r.ids.agent,
	}
	if name := filepath.Base(command[0]); name != filepath.Base(p.Host) {
		q.InvokedAs = name
	}
	r.keeper.gate.Waiting = func(token string) { r.tellWaiting(p.Host, token) }
	r.keeper.program = &p
	if err := r.keeper.gate.Ask(ctx, q); err != nil {
		return err
	}
	r.keeper.allowed = true
	return nil
}

// tellWaiting is said whatever --quiet is: somebody has to act on it.
func (r *run) tellWaiting(executable, token string) {
	how := "firma token approve " + token
	if s := r.keeper.served; s != nil {
		how += " --socket " + s.Management
	}
	fmt.Fprintf(r.std.Err, "firma: %q waits up to %s for approval; approve with: %s\n",
		append([]string{executable}, r.opts.Command[1:]...), r.keeper.gate.MaxWait.Round(time.Second), how)
}

// recordRefusal puts the refused launch into the log and ends the run there.
func (r *run) recordRefusal(why error) {
	l := r.launchMessage()
	l.Refused = strings.TrimPrefix(why.Error(), gate.Name+": ")
	if err := r.sidecar.send(control.Message{Kind: control.KindLaunch, Launch: l}); err != nil {
		return
	}
	if _, err := r.sidecar.expect(control.KindRecorded); err != nil {
		return
	}
	_, _ = r.summary(ExitFailure, fault.NameOf(why))
}

// launchMessage describes the launch: by its file, where a gate was asked.
func (r *run) launchMessage() *control.Launch {
	l := &control.Launch{Executable: r.opts.Command[0], Args: len(r.opts.Command) - 1, Dir: r.view.Dir}
	if p := r.keeper.program; p != nil {
		l.Executable = p.Host
	}
	return l
}

// pinned is the file that the sandbox may execute; nil where there is no gate. A
// gate that did not allow is an error, whoever forgot to ask it.
func (k *keeper) pinned() (*control.Program, error) {
	switch {
	case k.gate == nil:
		return nil, nil
	case !k.allowed:
		return nil, fault.New(gate.Name, "the command gate was not asked; nothing was executed", "")
	}
	st := k.program.Info.Sys().(*syscall.Stat_t)
	return &control.Program{Path: k.program.Inside, Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size,
		ChangedS: int64(st.Ctim.Sec), ChangedNs: int64(st.Ctim.Nsec)}, nil
}

// sweep removes what a killed Sidecar left of this run's own sockets. Configured
// ones are the next Sidecar's to replace.
func (k *keeper) sweep() {
	if k.served == nil || filepath.Dir(k.served.Socket) != k.ownDir {
		return
	}
	for _, p := range []string{k.served.Socket, k.served.Management, k.ownDir} {
		_ = os.Remove(p) // the Sidecar has usually done it
	}
}

func pathOf(env []string) string {
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return v
		}
	}
	return "/usr/local/bin:/usr/bin:/bin"
}
