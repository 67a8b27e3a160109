//go:build linux

package launch

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress says what the start is doing once it takes longer than a second.
type progress struct {
	mu    sync.Mutex
	to    io.Writer
	what  string
	slow  bool
	timer *time.Timer
}

func newProgress(to io.Writer, quiet bool) *progress {
	p := &progress{to: to, what: "starting Authority, Sidecar and sandbox"}
	if !quiet {
		p.timer = time.AfterFunc(time.Second, p.tick)
	}
	return p
}

func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = true
	fmt.Fprintf(p.to, "firma: %s…\n", p.what)
}

func (p *progress) set(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
	if p.slow {
		fmt.Fprintf(p.to, "firma: %s…\n", what)
	}
}

func (p *progress) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Lock()
	p.slow = false
	p.mu.Unlock()
}
