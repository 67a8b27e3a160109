package intercept

import (
	"sync"
	"time"
)

const (
	// rememberFor is how long a destination is believed to speak what it spoke.
	rememberFor = 10 * time.Minute
	// maxKnown bounds the destinations that are remembered.
	maxKnown = 1024
)

type destination struct {
	host string
	port uint16
}

type fact struct {
	proto string
	until time.Time
}

// memory maps destinations to protocols. The zero value is ready.
type memory struct {
	mu    sync.Mutex
	facts map[destination]fact
}

func (m *memory) get(host string, port uint16) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.facts[destination{host, port}]
	return f.proto, ok && time.Now().Before(f.until)
}

// put forgets everything when there is no room: learning it again costs one
// connection each.
func (m *memory) put(host string, port uint16, proto string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.facts == nil || len(m.facts) >= maxKnown {
		m.facts = map[destination]fact{}
	}
	m.facts[destination{host, port}] = fact{proto, time.Now().Add(rememberFor)}
}
