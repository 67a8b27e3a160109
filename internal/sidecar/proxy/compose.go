package proxy

import (
	"io"

	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// compose builds the request message, with as much of the body as is buffered.
// An error is a malformed body.
func (x *exchange) compose() error {
	c := x.c
	x.socket = c.wantsSocket(&x.d)
	b := c.appendRequest(x.msg, &x.d)
	switch c.req.Framing {
	case http1.Length:
		b = http1.AppendLength(b, c.req.Length)
	case http1.Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if x.socket != nil {
		if offers := x.socket.Offers(); offers != "" {
			b = http1.AppendField(b, "Sec-WebSocket-Extensions", offers)
		}
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	}
	head := len(b)
	b = append(b, crlf...)
	if c.push.read { // and with it the begin of the body
		b = x.appendPushed(b)
	} else {
		x.body.Reset(c.in, &c.req.Head)
		x.body.Most(c.srv.cfg.MaxBody)
	}
	b, err := x.appendBody(b)
	x.inline = x.body.Ended()
	if x.expects = c.req.Continue && !x.inline; x.expects {
		b = append(b, make([]byte, len(expect))...)
		copy(b[head+len(expect):], b[head:])
		copy(b[head:], expect)
	}
	x.msg = b
	return err
}

const expect = "Expect: 100-continue\r\n"

func (x *exchange) appendBody(b []byte) ([]byte, error) {
	chunked := x.c.req.Framing == http1.Chunked
	for first := true; first || len(b) < maxInline; first = false { // a body may have ended in what was read ahead
		p, err := x.body.Next()
		if err == io.EOF {
			if chunked {
				b = append(b, http1.LastChunk...)
			}
			return b, nil
		}
		if p == nil {
			return b, err
		}
		x.res.RequestBytes += int64(len(p))
		x.begins.Add(p)
		if chunked {
			b = append(append(http1.AppendChunkSize(b, len(p)), p...), crlf...)
		} else {
			b = append(b, p...)
		}
	}
	return b, nil
}

// wantsSocket returns the handshake of a request for a WebSocket (RFC 6455), nil if
// it is none, or has not one key; Java's says that its body is empty. Every other
// upgrade, h2c above all, is dropped: it would change protocols under the feet of
// whoever judged the request.
func (c *conn) wantsSocket(d *verdict.Decision) *websocket.Request {
	empty := c.req.Framing == http1.NoBody || c.req.Framing == http1.Length && c.req.Length == 0
	if c.req.Upgrade == nil || c.call.Method != "GET" || c.req.Minor == 0 || !empty || !http1.EqualFold(c.req.Upgrade, "websocket") {
		return nil
	}
	r := new(websocket.Request)
	for _, f := range c.req.Fields {
		if !field.Redacted(f.Name, d.RedactHeaders) {
			r.Field(string(f.Name), string(f.Value))
		}
	}
	if !r.Keyed() {
		return nil
	}
	return r
}
