package localexec

// Manage asks for a change of an approval token. It is taken on the management
// socket only.
type Manage struct {
	Action  string `json:"action"` // ActionApprove or ActionRevoke; others are answered unsupported_action
	TokenID string `json:"token_id"`
}

// Result is the word that answers a Manage. Only OK says that something changed.
type Result string

// The results.
const (
	OK                Result = "ok"
	NotFound          Result = "not_found"
	AlreadyConsumed   Result = "already_consumed"
	AlreadyRevoked    Result = "already_revoked"
	TokenExpired      Result = "expired"
	UnsupportedAction Result = "unsupported_action"
)

// Managed answers a Manage.
type Managed struct {
	Outcome Result `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
}

// Line is the request as sent, with its line feed.
func (m *Manage) Line() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return encode(m)
}

// ParseManage reads a request without its line feed. Errors are *FormatError.
func ParseManage(line []byte) (Manage, error) {
	var m Manage
	err := fields{"action": need(text(&m.Action, maxID)), "token_id": need(text(&m.TokenID, maxID))}.parse(line, MaxResponse)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return Manage{}, err
	}
	return m, nil
}

func (m *Manage) check() error {
	if err := checkID(m.Action); err != nil {
		return badFormat("action: %s", err.Error())
	}
	if err := checkID(m.TokenID); err != nil {
		return badFormat("token_id: %s", err.Error())
	}
	return nil
}

// Line is the answer as sent, with its line feed.
func (m *Managed) Line() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return encode(m)
}

// ParseManaged reads an answer without its line feed. Errors are *FormatError.
func ParseManaged(line []byte) (Managed, error) {
	var m Managed
	var outcome string
	err := fields{"outcome": need(text(&outcome, maxID)), "reason": optional(text(&m.Reason, maxReason))}.parse(line, MaxResponse)
	m.Outcome = Result(outcome)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		return Managed{}, err
	}
	return m, nil
}

func (m *Managed) check() error {
	switch m.Outcome {
	case OK, NotFound, AlreadyConsumed, AlreadyRevoked, TokenExpired, UnsupportedAction:
		return checkText(m.Reason, maxReason)
	}
	return badFormat("outcome: unknown word %.40q", string(m.Outcome))
}
