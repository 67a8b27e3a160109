//go:build linux

package launch

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"firma/internal/control"
	"firma/internal/fault"
)

// answering is a Sidecar that says one thing.
type answering struct{ m control.Message }

func (answering) send(control.Message, ...*os.File) error { return nil }
func (a answering) expect(k control.Kind) (control.Message, error) {
	a.m.Kind = k
	return a.m, nil
}
func (answering) lost() <-chan struct{} { return nil }
func (answering) died() error           { return nil }
func (answering) stop()                 {}
func (answering) kill()                 {}

// TestSidecarWithoutCapture: what the run's record claims must hold, or nothing is
// launched.
func TestSidecarWithoutCapture(t *testing.T) {
	for name, wanted := range map[string][]string{
		"none":            nil,
		"literals only":   {"203.0.113.7/32", "2001:db8::7/128"},
		"IPv6 only":       {"fd66:6972:6d61::/96"},
		"IPv6 and a rule": {"fd66:6972:6d61::/96", "203.0.113.7/32"},
	} {
		t.Run(name, func(t *testing.T) {
			var m control.Message
			for _, p := range wanted {
				m.Capture = append(m.Capture, netip.MustParsePrefix(p))
			}
			for _, at := range []Endpoint{{}, {Network: "tcp", Address: "127.0.0.1:8080"}} {
				r := &run{opts: Options{Transparent: true, Sidecar: at, StateDir: t.TempDir()}, sidecar: answering{m}}
				err := r.joinSidecar()
				if fault.NameOf(err) != "SidecarWithoutCapture" {
					t.Errorf("%v: %v", at, err)
				}
				if at.Address != "" && !strings.Contains(err.Error(), at.Address) {
					t.Errorf("%v does not say which", err)
				}
			}
		})
	}
}

// TestSidecarWithCapture: one range of IPv4 is what names need.
func TestSidecarWithCapture(t *testing.T) {
	for _, wanted := range [][]string{{"198.18.0.0/15"}, {"203.0.113.7/32", "fd66:6972:6d61::/96", "198.18.0.0/15"}} {
		var to []netip.Prefix
		for _, p := range wanted {
			to = append(to, netip.MustParsePrefix(p))
		}
		if !captures(to) {
			t.Errorf("%v: not seen", wanted)
		}
	}
}
