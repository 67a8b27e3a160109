package h2

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
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
	resp, up, err := x.upgrade()
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
	compressed, ok := websocket.Agreed(resp.Header["Sec-Websocket-Extensions"]...)
	if !ok {
		return x.failed(&responseError{"it uses an unknown WebSocket extension"})
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
		return x.broken(err)
	}
	x.record(nil)
	return codeNone
}

// carry runs both directions until the upstream's has ended.
func (x *exchange) carry(up io.ReadWriteCloser, compressed bool) error {
	result := make(chan error, 1)
	upward := websocket.NewWriter(up, websocket.Client, compressed)
	go func() {
		defer x.c.srv.recover("websocket")
		err := errCut
		defer func() { result <- err }()
		err = x.carryUp(up, upward)
	}()
	down := websocket.NewWriter(toClient{x}, websocket.Server, compressed)
	err := copyTo(down, up)
	x.stream.Close() // ends the other direction
	up.Close()
	if uerr := <-result; uerr != nil && !errors.Is(uerr, errDone) {
		err = uerr // it came first: the upstream is closed by it
	} else if err == nil {
		if err = down.End(); err == nil {
			err = x.writeData(nil, true, false)
		}
	}
	if upward.Closed() && down.Closed() && x.clientLeft() {
		return nil // they have said goodbye; how the stream ends does not matter
	}
	return err
}

// carryUp sends what the client sends, as far as it is frames. When it returns,
// the upstream is closed or soon will be.
func (x *exchange) carryUp(up io.Closer, w *websocket.Writer) error {
	err := copyTo(w, x.stream)
	if err == nil {
		err = w.End()
	}
	if err == nil && w.Closed() { // the upstream has its own Close frame to send
		time.AfterFunc(closeTime, func() { up.Close() })
		return nil
	}
	up.Close()
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

// upgrade asks the upstream for a WebSocket. A response with status 101 comes with
// the connection, any other with something to close.
func (x *exchange) upgrade() (*http.Response, io.ReadWriteCloser, error) {
	req := &http.Request{
		Method: x.call.Method,
		URL:    &url.URL{Scheme: "https", Host: hostPort(x.call.Host, x.call.Port), Opaque: x.call.Path, RawQuery: x.call.RawQuery},
		Host:   x.call.HostPort(),
		Header: x.header(&x.d),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	h := req.Header
	delete(h, "Sec-Websocket-Accept")
	if offers := websocket.Offers(h["Sec-Websocket-Extensions"]...); offers != "" {
		h["Sec-Websocket-Extensions"] = []string{offers}
	} else {
		delete(h, "Sec-Websocket-Extensions")
	}
	if len(h["Sec-Websocket-Version"]) == 0 {
		h["Sec-Websocket-Version"] = []string{"13"}
	}
	key := websocket.NewKey()
	h["Sec-Websocket-Key"] = []string{key}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	ctx := httptrace.WithClientTrace(x.ctx, expect(&httptrace.ClientTrace{}, asked{method: req.Method}))
	resp, err := x.c.srv.up.one.RoundTrip(req.WithContext(ctx))
	if mayBeProtocol(err) && x.ctx.Err() == nil {
		delete(h, "Sec-Websocket-Key")
		delete(h, "Connection")
		delete(h, "Upgrade")
		if resp, up, xerr := x.extend(req); xerr == nil {
			return resp, up, nil
		}
	}
	if err != nil {
		return nil, nil, err
	}
	up, ok := resp.Body.(io.ReadWriteCloser)
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return resp, onlyClose{resp.Body}, nil
	case !ok, !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket"), resp.Header.Get("Sec-Websocket-Accept") != websocket.Accept(key):
		resp.Body.Close()
		return nil, nil, &responseError{"its answer to the upgrade is not WebSocket's"}
	}
	return resp, up, nil
}

// mayBeProtocol reports whether an upstream may have failed us since it does not
// speak HTTP/1.1. It may say so by a TLS alert, or just close or answer in HTTP/2.
func mayBeProtocol(err error) bool {
	if err == nil {
		return false
	}
	reason, _ := explain(err, nil)
	return reason == verdict.ConnectorFailure
}

type onlyClose struct{ io.ReadCloser }

func (onlyClose) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// extend asks by extended CONNECT, on a connection of its own.
func (x *exchange) extend(req *http.Request) (*http.Response, io.ReadWriteCloser, error) {
	tc, err := x.c.srv.up.dial(x.ctx, req.URL.Host, []string{"h2"})
	if err != nil {
		return nil, nil, err
	}
	if tc.ConnectionState().NegotiatedProtocol != "h2" {
		tc.Close()
		return nil, nil, &responseError{"it speaks neither HTTP/1.1 nor HTTP/2"}
	}
	t := x.c.srv.up.transport([]string{"h2"})
	t.CloseIdleConnections() // has it set up HTTP/2
	r, w := io.Pipe()
	req.Method, req.Body, req.ContentLength = http.MethodConnect, r, -1
	req.Header[":protocol"] = []string{"websocket"}
	// Not t.RoundTrip, which takes ":protocol" for a malformed field name.
	resp, err := t.TLSNextProto["h2"](req.URL.Host, tc).RoundTrip(req.WithContext(x.ctx))
	if err != nil {
		tc.Close()
		return nil, nil, err
	}
	up := &extended{Reader: resp.Body, Writer: w, close: func() {
		w.Close()
		resp.Body.Close()
		t.CloseIdleConnections()
		tc.Close()
	}}
	if resp.StatusCode == http.StatusOK {
		resp.StatusCode = http.StatusSwitchingProtocols // in the words of HTTP/1.1
	}
	return resp, up, nil
}

// extended is the stream of an extended CONNECT.
type extended struct {
	io.Reader
	io.Writer
	close func()
}

func (e *extended) Close() error {
	e.close()
	return nil
}
