package resolver

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

// table gives each name one address, in order, for the life of the session. An
// address is never given to another name, since a connection to it may come at
// any time later. When the range is used up, further names get none and their
// queries are answered SERVFAIL; known names keep working.
type table struct {
	base   uint32
	size   uint32 // addresses in the range
	mu     sync.RWMutex
	byName map[string]uint32
	names  []string // names[i] has address base + 1 + i
}

func newTable(p netip.Prefix) *table {
	b := p.Addr().As4()
	return &table{base: binary.BigEndian.Uint32(b[:]), size: 1 << (32 - p.Bits()), byName: map[string]uint32{}}
}

// addr returns name's address, assigning one if needed; false when none is left.
func (t *table) addr(name string) ([4]byte, bool) {
	t.mu.RLock()
	i, ok := t.byName[name]
	t.mu.RUnlock()
	if !ok {
		i, ok = t.assign(name)
	}
	return bytes4(t.base + 1 + i), ok
}

func (t *table) assign(name string) (uint32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.byName[name]; ok {
		return i, true
	}
	i := uint32(len(t.names))
	if i+2 >= t.size { // the first and the last address stay unused
		return 0, false
	}
	t.byName[name] = i
	t.names = append(t.names, name)
	return i, true
}

func (t *table) name(addr netip.Addr) (string, bool) {
	if !addr.Is4() {
		return "", false
	}
	b := addr.As4()
	i := binary.BigEndian.Uint32(b[:]) - t.base - 1
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i >= uint32(len(t.names)) {
		return "", false
	}
	return t.names[i], true
}

func bytes4(v uint32) (b [4]byte) {
	binary.BigEndian.PutUint32(b[:], v)
	return b
}
