package localexec

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// State is where an approval token is in its life.
type State string

// The states. Pending and Approved end by themselves when the token's time is
// over; the last three are final.
const (
	StatePending  State = "pending"
	StateApproved State = "approved"
	StateConsumed State = "consumed"
	StateRevoked  State = "revoked"
	StateExpired  State = "expired"
)

// Binding is the one command, in the one run, that a token can allow.
type Binding struct {
	Executable  string
	Fingerprint string // of the whole request, see FingerprintOf
	InvokedAs   string
	SessionID   string
	SandboxID   string
	AgentID     string
}

// BindingOf is what r would be bound to. The fingerprint is computed, never taken
// from the request.
func BindingOf(r *Request) Binding {
	return Binding{r.Executable, FingerprintOf(r), r.InvokedAs, r.SessionID, r.SandboxID, r.AgentID}
}

// approval is one token. It allows once.
type approval struct {
	binding Binding
	state   State
	expires time.Time
}

// settle moves the token to expired when its time is over.
func (a *approval) settle(now time.Time) {
	if (a.state == StatePending || a.state == StateApproved) && !now.Before(a.expires) {
		a.state = StateExpired
	}
}

// change moves the token to a person's choice, or says why it can't.
func (a *approval) change(to State) Result {
	switch a.state {
	case StateConsumed:
		return AlreadyConsumed
	case StateRevoked:
		return AlreadyRevoked
	case StatePending, StateApproved:
		a.state = to
		return OK
	}
	return TokenExpired
}

// redeem decides for the holder of the token, and uses it up when it allows.
func (a *approval) redeem(b Binding) (Decision, string) {
	if a.binding != b {
		return Deny, "the approval token belongs to another command or run"
	}
	switch a.state {
	case StatePending:
		return Pending, "waiting for approval"
	case StateApproved:
		a.state = StateConsumed
		return Allow, "approved"
	case StateConsumed:
		return Deny, "the approval token was used before"
	case StateRevoked:
		return Deny, "the approval was refused"
	}
	return Deny, "the approval token has expired"
}

// MaxApprovals is how many tokens a Book holds.
const MaxApprovals = 256

// ErrBookFull says that too many tokens wait for a person.
var ErrBookFull = errors.New("too many approvals are waiting")

// Book keeps the tokens of a gate. It is safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	tokens map[string]*approval
}

// Issue makes a pending token that lives until now + ttl.
func (b *Book) Issue(to Binding, now time.Time, ttl time.Duration) (id string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.tokens) >= MaxApprovals {
		b.sweep(now)
	}
	if len(b.tokens) >= MaxApprovals {
		return "", ErrBookFull
	}
	if b.tokens == nil {
		b.tokens = map[string]*approval{}
	}
	id = "apr_" + rand.Text() // 128 bits: whoever asks the gate can't guess another's
	b.tokens[id] = &approval{binding: to, state: StatePending, expires: now.Add(ttl)}
	return id, nil
}

// sweep forgets the tokens that are over. Until then each is answered with what
// became of it.
func (b *Book) sweep(now time.Time) {
	for id, a := range b.tokens {
		if a.settle(now); a.state != StatePending && a.state != StateApproved {
			delete(b.tokens, id)
		}
	}
}

// Redeem decides for a request that presents the token id.
func (b *Book) Redeem(id string, by Binding, now time.Time) (Decision, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.tokens[id]
	if a == nil {
		return Deny, "there is no such approval token"
	}
	a.settle(now)
	return a.redeem(by)
}

// Approve lets the token's command be executed once, and says what that is.
// Approving twice is the same as once.
func (b *Book) Approve(id string, now time.Time) (Result, Binding) {
	return b.change(id, StateApproved, now)
}

// Revoke ends the token, approved or not, and says what it was for.
func (b *Book) Revoke(id string, now time.Time) (Result, Binding) {
	return b.change(id, StateRevoked, now)
}

func (b *Book) change(id string, to State, now time.Time) (Result, Binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.tokens[id]
	if a == nil {
		return NotFound, Binding{}
	}
	a.settle(now)
	return a.change(to), a.binding
}
