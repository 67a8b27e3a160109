package egress

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

const ownMaxAge = 5 * time.Second

// ownAddrs remembers the host's addresses for a few seconds: reading them is a
// netlink dump, too slow for every tunnel.
type ownAddrs struct {
	list func() ([]netip.Addr, error)
	last atomic.Pointer[ownSnapshot]
}

type ownSnapshot struct {
	set addrSet
	at  time.Time
}

func newOwnAddrs(list func() ([]netip.Addr, error)) *ownAddrs {
	if list == nil {
		list = interfaceAddrs
	}
	return &ownAddrs{list: list}
}

func (o *ownAddrs) get() (addrSet, error) {
	if s := o.last.Load(); s != nil && time.Since(s.at) < ownMaxAge {
		return s.set, nil
	}
	addrs, err := o.list()
	if err != nil {
		return nil, err
	}
	s := &ownSnapshot{set: make(addrSet, len(addrs)), at: time.Now()}
	for _, a := range addrs {
		s.set[a.Unmap()] = struct{}{}
	}
	o.last.Store(s)
	return s.set, nil
}

func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, addr)
			}
		}
	}
	return out, nil
}
