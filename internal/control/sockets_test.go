package control

import (
	"os"
	"testing"
)

func TestNameSockets(t *testing.T) {
	three := []Socket{SocketProxy, SocketDNS, SocketDNSTCP}
	for name, c := range map[string]struct {
		names []Socket
		files int
		ok    bool
	}{
		"the least":   {three, 3, true},
		"with more":   {append(three, SocketRoute, SocketCapture), 5, true},
		"none":        {nil, 0, false},
		"one missing": {three[:2], 2, false},
		"a file more": {three, 4, false},
		"a name more": {append(three, SocketRoute), 3, false},
		"twice":       {append(three, SocketProxy), 4, false},
		"unknown":     {append(three, "x11"), 4, false},
		"others only": {[]Socket{SocketCapture, SocketRoute, SocketNetfilter}, 3, false},
	} {
		var files []*os.File
		for range c.files {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			files = append(files, f)
		}
		s, err := NameSockets(c.names, files)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			for _, f := range files {
				if f.Close() == nil {
					t.Errorf("%s: a file was left open", name)
				}
			}
			continue
		}
		m, out := s.Message(SocketCapture6, SocketProxy, SocketCapture)
		if len(m.Sockets) != len(out) || m.Sockets[0] != SocketProxy || out[0] != files[0] {
			t.Errorf("%s: %v with %d files", name, m.Sockets, len(out))
		}
	}
}
