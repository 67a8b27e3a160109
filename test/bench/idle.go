//go:build linux

package main

import (
	"fmt"
	"net"
	"time"

	"firma/test/load"
)

// measureIdle compares what proxies hold when nothing happens: fresh, and with
// many tunnels that carry nothing. Each has a process of its own for it.
func (e *env) measureIdle() error {
	fmt.Printf("at rest: resident memory, fresh and with %d idle tunnels\n", e.idle)
	t := newTable()
	for _, m := range proxies {
		if !e.wanted(m.name) || m.name == "squid" || m.name == "tinyproxy" {
			continue // tinyproxy has a thread for each tunnel, squid preallocates
		}
		if err := e.rest(m, t); err != nil {
			fmt.Printf("  not measured: %v\n", err)
		}
	}
	t.print("fresh MB", "tunnels", "idle tunnels MB", "KiB each")
	return nil
}

func (e *env) rest(m maker, t *table) error {
	s, err := e.start(m)
	if err != nil {
		return err
	}
	defer s.stop()
	time.Sleep(time.Second)
	fresh, err := load.Look(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	t.add(s.name, "fresh MB", mb(fresh.RSS))
	conns := make([]net.Conn, 0, e.idle)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range e.idle {
		c, err := s.path.Ping(e.hello)
		if err != nil && len(conns) < 1000 {
			return fmt.Errorf("%s, tunnel %d: %w", s.name, len(conns), err)
		}
		if err != nil { // such as three pairs of descriptors for one tunnel
			fmt.Printf("  %s: no more than %d tunnels: %v\n", s.name, len(conns), err)
			break
		}
		conns = append(conns, c)
	}
	time.Sleep(5 * time.Second)
	full, err := load.Look(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	t.add(s.name, "idle tunnels MB", mb(full.RSS))
	t.add(s.name, "KiB each", float64(full.RSS-fresh.RSS)/1024/float64(len(conns)))
	t.add(s.name, "tunnels", float64(len(conns)))
	return nil
}
