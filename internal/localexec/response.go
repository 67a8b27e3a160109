package localexec

// Response is the gate's answer. Its zero value allows nothing.
type Response struct {
	Decision      Decision `json:"decision"`
	Reason        string   `json:"reason,omitempty"`
	ApprovalToken string   `json:"approval_token,omitempty"`
	RetryAfterMS  uint32   `json:"retry_after_ms,omitempty"` // 0: not said

	// Fingerprint, where given, names the request that is answered.
	Fingerprint string `json:"request_fingerprint,omitempty"`
}

// Line is the response as sent, with its line feed.
func (r *Response) Line() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return encode(r)
}

// ParseResponse reads a response without its line feed. Errors are *FormatError
// and, for a well-formed response, *UnknownDecision; with either, the response is
// the zero value.
func ParseResponse(line []byte) (Response, error) {
	var r Response
	var decision string
	err := fields{
		"decision":            need(text(&decision, MaxResponse)),
		"reason":              optional(text(&r.Reason, maxReason)),
		"approval_token":      optional(text(&r.ApprovalToken, maxID)),
		"retry_after_ms":      optional(millis(&r.RetryAfterMS)),
		"request_fingerprint": optional(text(&r.Fingerprint, maxID)),
	}.parse(line, MaxResponse)
	if err != nil {
		return Response{}, err
	}
	r.Decision = Decision(decision)
	if err := r.check(); err != nil {
		return Response{}, err
	}
	return r, nil
}

func (r *Response) check() error {
	if r.ApprovalToken != "" {
		if err := checkID(r.ApprovalToken); err != nil {
			return badFormat("approval_token: %s", err.Error())
		}
	}
	if err := checkText(r.Reason, maxReason); err != nil {
		return badFormat("reason: %s", err.Error())
	}
	if r.Fingerprint != "" && !isHash(r.Fingerprint) {
		return badFormat("request_fingerprint: it is not a SHA-256 in lower-case hex")
	}
	switch r.Decision {
	case Allow, Deny, Pending:
		return nil
	}
	return &UnknownDecision{Word: string(r.Decision)}
}
