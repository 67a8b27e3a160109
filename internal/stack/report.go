package stack

import "firma/internal/control"

// Report is what a service tells the process that started it, once: where it
// listens, or why it does not.
type Report struct {
	Listen    string           `json:"listen,omitempty"`     // "ip:port", or the path of a socket
	Health    string           `json:"health,omitempty"`     // "ip:port"
	PublicKey []byte           `json:"public_key,omitempty"` // of an Authority; 32 bytes
	Failure   *control.Failure `json:"failure,omitempty"`
}

// Failed is the report of a service that could not start.
func Failed(err error) Report { return Report{Failure: control.FailureOf(err)} }
