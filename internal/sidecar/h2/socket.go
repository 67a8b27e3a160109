package h2

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/websocket"
)

// closeTime is how long the upstream has to end a WebSocket after the client did.
const closeTime = 5 * time.Second

// socket carries a WebSocket: the client's extended CONNECT becomes an upgrade of
// an HTTP/1.1 connection, or the same over HTTP/2 if the upstream speaks nothing
// else.
func (x *exchange) socket() uint32 {
	if !x.begin(x.d) {
		return x.failed(errClientLeft)
	}
	defer x.limit()()
	resp, up, asked, err := x.upgrade()
	if err != nil {
		return x.failed(err)
	}
	defer up.Close()
	x.res.Status, x.res.Latency = resp.StatusCode, time.Since(x.start)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if resp.StatusCode < 300 {
			return x.failed(&responseError{"it did not switch protocols"})
		}
		if err := x.respond(resp); err != nil {
			return x.broken(err)
		}
		x.record(nil)
		return codeNone
	}
	compressed, why := agrees(asked, resp)
	if why != "" {
		return x.failed(&responseError{why})
	}
	fields, err := appendFields([]hpack.HeaderField{{Name: ":status", Value: "200"}}, resp.Header)
	if err != nil {
		return x.failed(err)
	}
	fields = slices.DeleteFunc(fields, func(f hpack.HeaderField) bool { return f.Name == "sec-websocket-accept" })
	if err := x.writeHead(fields, false); err != nil {
		return x.broken(err)
	}
	if err := x.carry(up, compressed); err != nil {
		code := x.broken(err)
		if code == codeInternal {
			code = codeCancel // as a TCP connection is reset (RFC 8441, section 5)
		}
		return code
	}
	x.record(nil)
	return codeNone
}

// carry runs both directions until the upstream's has ended. Whoever broke the
// protocol is told so, and so is a client whose server did.
func (x *exchange) carry(up io.ReadWriteCloser, compressed bool) error {
	result := make(chan error, 1)
	upward, down := websocket.NewWriter(up, websocket.Client, compressed), websocket.NewWriter(toClient{x}, websocket.Server, compressed)
	late := func() { time.AfterFunc(websocket.LateTime, func() { up.Close() }) }
	upward.OnLate, down.OnLate = late, late
	go func() {
		defer x.c.srv.recover("websocket")
		err := errCut
		defer func() { result <- err }()
		err = x.carryUp(up, upward)
	}()
	err := copyTo(down, up)
	x.stream.Close() // ends the other direction
	var bad *websocket.Error
	uerr := error(nil)
	if errors.As(err, &bad) {
		timer := time.AfterFunc(lingerTime, func() { up.Close() })
		if uerr = <-result; upward.Tell(bad) == nil {
			io.CopyN(io.Discard, up, linger)
		}
		timer.Stop()
		up.Close()
	} else {
		up.Close()
		uerr = <-result
	}
	if bad == nil && uerr != nil && !errors.Is(uerr, errDone) {
		err = uerr // it came first: the upstream is closed by it
	} else if err == nil {
		if err = down.End(); err == nil {
			err = x.writeData(nil, true, false)
		}
	}
	if errors.As(err, &bad) {
		return x.part(down, bad)
	}
	if err != nil && down.Closed() && x.goesOn() {
		err = nil // the upstream has said goodbye; how its connection ends does not matter
		x.writeData(nil, true, false)
	}
	for _, w := range []*websocket.Writer{upward, down} {
		if late := w.Late(); late != nil && x.goesOn() {
			err = late
		}
	}
	return err
}

// part ends the stream with a Close frame, if the client takes it in time.
func (x *exchange) part(down *websocket.Writer, bad *websocket.Error) error {
	x.hurry()
	if down.Tell(bad) == nil && down.Closed() {
		x.writeData(nil, true, false)
	}
	return bad
}

// hurry gives the client a little time to take what is left.
func (x *exchange) hurry() {
	time.AfterFunc(lingerTime, func() { x.stop(errCut, codeCancel) })
}

// carryUp sends what the client sends, as far as it is frames. When it returns,
// the upstream is closed or soon will be.
func (x *exchange) carryUp(up io.Closer, w *websocket.Writer) error {
	err := copyTo(w, x.stream)
	var bad *websocket.Error
	patience := time.Duration(0)
	switch {
	case errors.Is(err, errDone):
		return err // the other direction sees to the rest
	case errors.As(err, &bad):
		x.hurry() // it may not take what the upstream sends, either
	case err != nil:
		up.Close()
		return err
	default:
		if err = w.End(); err == nil && w.Closed() {
			patience = closeTime // the upstream has its own Close frame to send
		}
	}
	if h, ok := up.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
		patience = max(patience, lingerTime/2) // what is on its way would be lost
	}
	if patience == 0 {
		up.Close()
	} else {
		time.AfterFunc(patience, func() { up.Close() })
	}
	return err
}

// copyTo is io.Copy with a buffer of the pool.
func copyTo(dst io.Writer, src io.Reader) error {
	buf := copyPool.Get().(*[copySize]byte)
	defer copyPool.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// toClient writes DATA frames.
type toClient struct{ x *exchange }

func (c toClient) Write(p []byte) (int, error) {
	c.x.res.ResponseBytes += int64(len(p))
	c.x.moved.Add(int64(len(p)))
	return len(p), c.x.writeData(p, false, false)
}
