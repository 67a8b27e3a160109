package standalone

import (
	"bytes"
	"strings"
	"sync"
	"time"
)

// transcript keeps what was written and lets tests wait for a part of it.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{})} }

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.text.Write(p)
	tr.tell()
	return len(p), nil
}

func (tr *transcript) tell() {
	close(tr.changed)
	tr.changed = make(chan struct{})
}

func (tr *transcript) close() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.closed = true
	tr.tell()
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// wait waits for want in what was written from byte from on. It returns where want
// ends, or -1 at the end of the text or the deadline.
func (tr *transcript) wait(from int, want string) int {
	timeout := time.After(deadline)
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
