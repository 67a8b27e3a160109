// Package localexec is the Sidecar's side of the command gate: it answers what
// package localexec of the vocabulary defines, and records each answer before it
// gives it.
//
// It serves two sockets. On the first, launchers ask. On the second, people
// approve; a launcher has no use for it, and the agent, which runs under the same
// uid, must reach neither: no path of theirs is ever mounted into a sandbox, the
// syscall filter has no AF_UNIX, and whoever approves from another user or pid
// namespace is refused.
package localexec

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"firma/internal/audit"
	"firma/internal/fault"
	contract "firma/internal/localexec"
)

// The defaults of the settings.
const (
	DefaultTokenTTL   = 5 * time.Minute
	DefaultRetryAfter = 500 * time.Millisecond
)

// Recorder is the audit log. Append returns once the event is written.
type Recorder interface {
	Append(context.Context, *audit.Event) error
}

// Config are the settings of a Server. Audit and Log are required.
type Config struct {
	Socket     string // where launchers ask; absolute
	Management string // where people approve; absolute, another one

	// The one run that is served. A Sidecar that serves many sets AnyRun instead:
	// approvals are then bound to the run that asked.
	SandboxID, SessionID, AgentID string
	AnyRun                        bool

	DefaultAction contract.Decision // what to say to a command; "": deny
	TokenTTL      time.Duration     // 0: DefaultTokenTTL
	RetryAfter    time.Duration     // 0: DefaultRetryAfter
	Now           func() time.Time  // nil: time.Now
	Audit         Recorder
	Log           *slog.Logger
}

// Server answers on both sockets. Its methods are safe for concurrent use.
type Server struct {
	cfg  Config
	book contract.Book
	exec *socket
	mgmt *socket
}

// Listen makes the sockets. On an error none is left behind. A Server that is not
// served must be closed.
func Listen(cfg Config) (*Server, error) {
	if err := cfg.settle(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg}
	var err error
	if s.exec, err = listen(cfg.Socket); err != nil {
		return nil, err
	}
	if s.mgmt, err = listen(cfg.Management); err != nil {
		s.exec.close()
		return nil, err
	}
	return s, nil
}

func (c *Config) settle() error {
	if c.DefaultAction == "" {
		c.DefaultAction = contract.Deny
	}
	if c.TokenTTL <= 0 {
		c.TokenTTL = DefaultTokenTTL
	}
	if c.RetryAfter <= 0 {
		c.RetryAfter = DefaultRetryAfter
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Audit == nil || c.Log == nil:
		return errors.New("localexec: no audit log")
	case c.Socket == c.Management:
		return fault.New("ConfigValidation", "[sidecar.local_exec] has one socket for asking and for approving", "name two different ones: who may ask must not be able to approve")
	case !c.AnyRun && (c.SandboxID == "" || c.SessionID == ""):
		return errors.New("localexec: it serves no run")
	}
	switch c.DefaultAction {
	case contract.Allow, contract.Deny, contract.Pending:
		return nil
	}
	return fault.New("ConfigValidation", "[sidecar.local_exec].default_action is unknown", "set it to allow, deny or pending_hitl")
}

// Serve answers until ctx is done, then removes the sockets and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, s.Close)()
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, l := range []struct {
		on     *socket
		answer func(context.Context, *net.UnixConn) []byte
	}{{s.exec, s.asked}, {s.mgmt, s.managed}} {
		both.Go(func() {
			defer cancel() // one is no use without the other
			errs[i] = l.on.serve(ctx, l.answer)
		})
	}
	both.Wait()
	return errors.Join(errs...)
}

// Close removes the sockets.
func (s *Server) Close() {
	s.mgmt.close()
	s.exec.close() // last: it may have made the directory
}
