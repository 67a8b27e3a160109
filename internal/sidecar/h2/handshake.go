package h2

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"

	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// upgrade asks the upstream for a WebSocket. A response with status 101 comes with
// the connection and what was asked, any other with something to close.
func (x *exchange) upgrade() (*http.Response, io.ReadWriteCloser, *websocket.Request, error) {
	req := &http.Request{
		Method: x.call.Method,
		URL:    &url.URL{Scheme: "https", Host: hostPort(x.call.Host, x.call.Port), Opaque: x.call.Path, RawQuery: x.call.RawQuery},
		Host:   x.call.HostPort(),
		Header: x.header(&x.d),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	shake := x.ask(req.Header)
	ctx := httptrace.WithClientTrace(x.ctx, expect(&httptrace.ClientTrace{}, asked{method: req.Method}))
	resp, err := x.c.srv.up.one.RoundTrip(req.WithContext(ctx))
	if mayBeProtocol(err) && x.ctx.Err() == nil {
		if resp, up, xerr := x.extend(req); xerr == nil {
			return resp, up, shake, nil
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, onlyClose{resp.Body}, nil, nil
	}
	up, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		resp.Body.Close()
		return nil, nil, nil, &responseError{"it switched protocols unasked"}
	}
	return resp, up, shake, nil
}

// ask makes a client's handshake of h, in the words of HTTP/1.1.
func (x *exchange) ask(h http.Header) *websocket.Request {
	asked := new(websocket.Request)
	for _, v := range h["Sec-Websocket-Extensions"] {
		asked.Field("Sec-WebSocket-Extensions", v)
	}
	delete(h, "Sec-Websocket-Accept")
	if offers := asked.Offers(); offers != "" {
		h["Sec-Websocket-Extensions"] = []string{offers}
	} else {
		delete(h, "Sec-Websocket-Extensions")
	}
	if len(h["Sec-Websocket-Version"]) == 0 {
		h["Sec-Websocket-Version"] = []string{"13"}
	}
	h["Sec-Websocket-Key"] = []string{websocket.NewKey()}
	for _, name := range []string{"Sec-Websocket-Version", "Sec-Websocket-Key"} {
		for _, v := range h[name] {
			asked.Field(name, v)
		}
	}
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	return asked
}

// agrees reports what of a 101 is no answer to what was asked, "" if it is one, and
// whether it agrees on compression.
func agrees(asked *websocket.Request, resp *http.Response) (deflate bool, why string) {
	if resp.ProtoAtLeast(1, 1) && nominated(resp.Header, "upgrade") && len(resp.Header["Upgrade"]) == 1 && strings.EqualFold(resp.Header["Upgrade"][0], "websocket") {
		var said websocket.Response
		for name, values := range resp.Header {
			for _, v := range values {
				said.Field(name, v)
			}
		}
		return asked.Agrees(&said)
	}
	return false, "it switched protocols unasked"
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
	key := req.Header.Get("Sec-Websocket-Key")
	for _, name := range []string{"Sec-Websocket-Key", "Connection", "Upgrade"} {
		delete(req.Header, name)
	}
	req.Method, req.Body, req.ContentLength = http.MethodConnect, r, -1
	req.Header[":protocol"] = []string{"websocket"}
	// Not t.RoundTrip, which takes ":protocol" for a malformed field name.
	resp, err := t.TLSNextProto["h2"](req.URL.Host, tc).RoundTrip(req.WithContext(x.ctx))
	if err != nil {
		tc.Close()
		return nil, nil, err
	}
	up := &extended{Reader: resp.Body, WriteCloser: w, close: func() {
		w.Close()
		resp.Body.Close()
		t.CloseIdleConnections()
		tc.Close()
	}}
	if resp.StatusCode == http.StatusOK { // in the words of HTTP/1.1
		resp.StatusCode = http.StatusSwitchingProtocols
		resp.Header["Connection"], resp.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		resp.Header["Sec-Websocket-Accept"] = []string{websocket.Accept(key)}
	}
	return resp, up, nil
}

// extended is the stream of an extended CONNECT.
type extended struct {
	io.Reader
	io.WriteCloser
	close func()
}

// CloseWrite ends what is sent, once it is sent.
func (e *extended) CloseWrite() error { return e.WriteCloser.Close() }

func (e *extended) Close() error {
	e.close()
	return nil
}
