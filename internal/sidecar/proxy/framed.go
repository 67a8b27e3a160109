package proxy

import (
	"errors"
	"io"
	"net"
	"time"

	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
)

// framed is one side of a WebSocket. What is written to it must be frames of the
// other side; if it is not, the tunnel ends gently.
type framed struct {
	net.Conn
	w      *websocket.Writer
	tunnel *tunnel
	bad    *websocket.Error // why what was written was no frame
}

func newFramed(t *tunnel, to net.Conn, from websocket.Side, deflate bool) *framed {
	w := websocket.NewWriter(to, from, deflate)
	w.OnLate = func() { time.AfterFunc(websocket.LateTime, t.abort) }
	return &framed{Conn: to, w: w, tunnel: t}
}

func (f *framed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.note(err)
	return n, err
}

func (f *framed) note(err error) {
	if errors.As(err, &f.bad) {
		f.tunnel.gently.Store(true)
	}
}

// CloseWrite passes the end of one direction on.
func (f *framed) CloseWrite() error {
	if err := f.w.End(); err != nil {
		f.note(err)
		return err
	}
	if !closeWrite(f.Conn) {
		return net.ErrClosed
	}
	return nil
}

// Close ends the connection at once.
func (f *framed) Close() error { return under(f.Conn).Close() }

// afterClose returns an error if either side sent more after its Close frame. It reached
// nobody.
func afterClose(sides ...*framed) error {
	for _, f := range sides {
		if err := f.w.Late(); err != nil {
			return err
		}
	}
	return nil
}

// tell says by a Close frame that bad ended the WebSocket, if that can be said.
func (f *framed) tell(bad *websocket.Error) {
	f.SetWriteDeadline(time.Now().Add(lingerTime))
	f.w.Tell(bad)
}

// linger waits a little for the other side to end the connection, too.
func (f *framed) linger() {
	if !closeWrite(f.Conn) {
		return
	}
	f.SetReadDeadline(time.Now().Add(lingerTime))
	io.CopyN(io.Discard, f.Conn, lingerBytes)
}

// agrees reports what of a 101 is no answer to the handshake, "" if it is one, and
// whether it agrees on compression.
func agrees(asked *websocket.Request, p *http1.Response) (deflate bool, why string) {
	if asked == nil || p.Minor == 0 || !http1.EqualFold(p.Upgrade, "websocket") {
		return false, "it switched protocols unasked"
	}
	var said websocket.Response
	for _, f := range p.Fields {
		said.Field(string(f.Name), string(f.Value))
	}
	return asked.Agrees(&said)
}
