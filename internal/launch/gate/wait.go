package gate

import (
	"context"
	"time"

	"firma/internal/localexec"
)

// patience is the wait for a person, over all questions of one launch.
type patience struct {
	gate  *Gate
	until time.Time // zero before the first answer that asks to wait
}

// wait returns nil when it is time to ask again, with the token in r.
func (p *patience) wait(ctx context.Context, r *localexec.Request, a localexec.Response) error {
	g := p.gate
	switch {
	case g.Mode != localexec.AsyncToken:
		return refuse(g.called()+" wants a person to approve "+printable(r.Executable)+", and this run does not wait",
			`set sidecar_local_exec.hitl_mode = "async_token" to wait for the approval`)
	case a.ApprovalToken == "" && r.ApprovalToken == "":
		return refuse(g.called()+" wants a person to approve "+printable(r.Executable)+", and gave no token to ask again with", g.look())
	case r.ApprovalToken != "" && a.ApprovalToken != "" && a.ApprovalToken != r.ApprovalToken:
		return refuse(g.called()+" changed its approval token while a person was deciding", g.look())
	}
	now := g.clock()
	if p.until.IsZero() {
		p.until, r.ApprovalToken = now.Add(g.MaxWait), a.ApprovalToken
		if g.Waiting != nil {
			g.Waiting(r.ApprovalToken)
		}
	}
	left := p.until.Sub(now)
	if left <= 0 {
		return refuse("nobody approved "+printable(r.Executable)+" within "+g.MaxWait.String(),
			"run again and approve it with: firma token approve TOKEN; or raise sidecar_local_exec.hitl_max_wait")
	}
	return g.pause(ctx, min(retryAfter(a), left))
}

func retryAfter(a localexec.Response) time.Duration {
	if a.RetryAfterMS == 0 {
		return defaultRetry
	}
	return max(minRetry, min(time.Duration(a.RetryAfterMS)*time.Millisecond, maxRetry))
}

func (g *Gate) clock() time.Time {
	if g.now == nil {
		return time.Now()
	}
	return g.now()
}

func (g *Gate) pause(ctx context.Context, d time.Duration) error {
	if g.sleep != nil {
		return g.sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
