// Package gate asks the command gate whether the agent's command may be executed,
// and takes nothing but a well-formed "allow" for a yes. The format is package
// localexec's.
package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"firma/internal/fault"
	"firma/internal/localexec"
	"firma/internal/localexec/line"
)

// Name is the fault of every launch that the gate did not allow.
const Name = "Governance"

// RequireVar makes a launch without a gate an error.
const RequireVar = "FIRMA_RUN_REQUIRE_LOCAL_EXEC_GOVERNANCE"

// BudgetVar is passed on to the gate as it is.
const BudgetVar = "FIRMA_BUDGET_STATE_REF"

// The defaults of the settings.
const (
	DefaultTimeout = 500 * time.Millisecond
	DefaultMaxWait = 5 * time.Minute
)

// A gate says how long to wait before asking again; these bound what it may say.
const (
	defaultRetry = 500 * time.Millisecond
	minRetry     = 20 * time.Millisecond
	maxRetry     = 30 * time.Second
)

// Gate is one gate, and how long to have patience with it.
type Gate struct {
	Endpoint line.Address
	Own      bool          // the run's own Sidecar serves it
	Timeout  time.Duration // of one question
	Mode     localexec.Mode
	MaxWait  time.Duration // for a person, with localexec.AsyncToken

	// EnforceKnown refuses what is not in Known (canonical paths on the host)
	// without asking.
	EnforceKnown bool
	Known        []string

	// Waiting is called once when a person has to decide. May be nil.
	Waiting func(token string)

	sleep func(context.Context, time.Duration) error // nil: time
	now   func() time.Time                           // nil: time.Now
}

// Ask returns nil only if the gate said allow to this very request. Any other
// answer, or none, is a fault called Governance; the end of ctx is its cause.
// Action, Mode and Fingerprint are filled in.
func (g *Gate) Ask(ctx context.Context, r localexec.Request) error {
	if g.EnforceKnown && !slices.Contains(g.Known, r.Executable) {
		return refuse(printable(r.Executable)+" is not one of the allowed executables",
			"name it in sidecar_local_exec.allowed_executables, if the agent may be started from it")
	}
	r.Action, r.Mode, r.ApprovalToken = localexec.ActionExec, g.Mode, ""
	r.Fingerprint = localexec.FingerprintOf(&r)
	p := patience{gate: g}
	for {
		answer, err := g.once(ctx, &r)
		if err != nil {
			return err
		}
		switch answer.Decision {
		case localexec.Allow:
			return nil
		case localexec.Pending:
			err = p.wait(ctx, &r, answer)
		default:
			err = g.denied(&r, answer)
		}
		if err != nil {
			return err
		}
	}
}

// once asks and reads one answer.
func (g *Gate) once(ctx context.Context, r *localexec.Request) (localexec.Response, error) {
	out, err := r.Line()
	if err != nil {
		return localexec.Response{}, refuse("the command can't be put to the command gate: "+err.Error(), "the gate is told all of it or nothing: start the agent with what JSON can carry, UTF-8 of limited length")
	}
	in, err := line.Exchange(ctx, g.Endpoint, out, localexec.MaxResponse, g.Timeout)
	if err != nil {
		return localexec.Response{}, g.noAnswer(ctx, err)
	}
	answer, err := localexec.ParseResponse(in)
	if err == nil && answer.Fingerprint != "" && answer.Fingerprint != r.Fingerprint {
		return localexec.Response{}, refuse(g.called()+" answered for another command", g.look())
	}
	var unknown *localexec.UnknownDecision
	switch {
	case errors.As(err, &unknown):
		return answer, refuse(fmt.Sprintf("%s answered with a decision that has no meaning: %q", g.called(), printable(unknown.Word)), g.look())
	case err != nil:
		return answer, refuse(g.called()+" answered something that is not an answer: "+printable(err.Error()), g.look())
	}
	return answer, nil
}

func (g *Gate) noAnswer(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, line.ErrTimeout):
		return refuse(g.called()+" did not answer within "+g.Timeout.String(), "see why it is slow, or raise sidecar_local_exec.timeout")
	case errors.Is(err, line.ErrTooLong):
		return refuse(fmt.Sprintf("%s answered with more than %d bytes", g.called(), localexec.MaxResponse), g.look())
	case errors.Is(err, line.ErrExtra):
		return refuse(g.called()+" sent more than the one line of its answer", g.look())
	case errors.Is(err, line.ErrLingers):
		return refuse(g.called()+" kept the connection open after its answer, so it may have had more to say", "let it close the connection after its line")
	case errors.Is(err, line.ErrClosed):
		return refuse(g.called()+" closed the connection before it had answered with a whole line", g.look())
	}
	return refuse(g.called()+" can't be reached: "+printable(strings.TrimPrefix(err.Error(), line.ErrUnreachable.Error()+": ")), "start it, or correct sidecar_local_exec.endpoint")
}

func (g *Gate) denied(r *localexec.Request, a localexec.Response) error {
	text := g.called() + " refused " + printable(r.Executable)
	if a.Reason != "" {
		text += ": " + printable(a.Reason)
	}
	if g.Own {
		return refuse(text, "change default_action in [sidecar.local_exec], if that command may be started")
	}
	return refuse(text, "ask whoever runs that gate")
}

func (g *Gate) called() string {
	if g.Own {
		return "the run's own command gate"
	}
	return "the command gate at " + g.Endpoint.String()
}

func (g *Gate) look() string {
	return "check what serves " + g.Endpoint.String() + "; its format is in docs/architecture/command-governance-local-exec-contract.md"
}

func refuse(text, fix string) error { return fault.New(Name, text+"; nothing was executed", fix) }

// printable is text of somebody else's that is safe on a terminal.
func printable(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// Required reports whether RequireVar asks for a gate. A value that is neither
// yes nor no is an error: a slip must not switch the requirement off.
func Required(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true", "yes", "on":
		return true, nil
	case "", "0", "false", "no", "off":
		return false, nil
	}
	return true, refuse(RequireVar+" is "+printable(value)+", which is neither true nor false", "set it to true, or unset it")
}

// Missing is the refusal of a launch that must be governed and has no gate.
func Missing() error {
	return refuse(RequireVar+" is set, and no command gate is configured", "configure [run.profiles.NAME.sidecar_local_exec] with an endpoint, or [sidecar.local_exec]; or unset the variable")
}
