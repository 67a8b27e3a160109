package proxy

import (
	"errors"
	"net"

	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
)

// framed is one side of a WebSocket. What is written to it must be frames of the
// other side.
type framed struct {
	net.Conn
	w   *websocket.Writer
	bad error // why what was written was no frame
}

func newFramed(to net.Conn, from websocket.Side, deflate bool) *framed {
	return &framed{Conn: to, w: websocket.NewWriter(to, from, deflate)}
}

func (f *framed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	var bad *websocket.Error
	if errors.As(err, &bad) {
		f.bad = bad
	}
	return n, err
}

// CloseWrite passes the end of one direction on.
func (f *framed) CloseWrite() error {
	if !closeWrite(f.Conn) {
		return net.ErrClosed
	}
	return nil
}

// agreed reports whether the upstream's 101 agrees on compression, and false if
// it agrees on an extension whose frames could not be told from garbage.
func agreed(h *http1.Head) (deflate, ok bool) {
	var values []string
	for _, f := range h.Fields {
		if http1.EqualFold(f.Name, "sec-websocket-extensions") {
			values = append(values, string(f.Value))
		}
	}
	return websocket.Agreed(values...)
}
