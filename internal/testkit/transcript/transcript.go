// Package transcript keeps what a program says while a test talks to it.
package transcript

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// Deadline bounds every wait: far more than a busy machine needs.
const Deadline = 40 * time.Second

// Transcript keeps what was written and lets tests wait for a part of it. It is safe
// for concurrent use.
type Transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

// New returns an empty transcript.
func New() *Transcript { return &Transcript{changed: make(chan struct{})} }

// Write implements io.Writer; it never fails.
func (tr *Transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.text.Write(p)
	tr.tell()
	return len(p), nil
}

func (tr *Transcript) tell() {
	close(tr.changed)
	tr.changed = make(chan struct{})
}

// Close says that nothing more will be written.
func (tr *Transcript) Close() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.closed = true
	tr.tell()
}

// String is everything so far.
func (tr *Transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// Wait waits for want in what was written from byte from on. It returns where want
// ends, or -1 at the end of the text or the deadline.
func (tr *Transcript) Wait(from int, want string) int {
	timeout := time.After(Deadline)
	for {
		tr.mu.Lock()
		text, closed, changed := tr.text.String(), tr.closed, tr.changed
		tr.mu.Unlock()
		if i := strings.Index(text[min(from, len(text)):], want); i >= 0 {
			return from + i + len(want)
		}
		if closed {
			return -1
		}
		select {
		case <-changed:
		case <-timeout:
			return -1
		}
	}
}
