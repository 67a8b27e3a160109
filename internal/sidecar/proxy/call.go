package proxy

import (
	"bytes"

	"firma/internal/intent"
	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/websocket"
	"firma/internal/verdict"
)

// read makes the canonical call of a request in absolute form. hint accompanies
// an error whose sender seems not to know that it talks to a proxy.
func (c *conn) read() (hint string, err error) {
	if c.fixed != nil {
		return "", c.readFixed()
	}
	if t := c.req.Target; t[0] == '/' || t[0] == '*' {
		return selfHint, &intent.Error{Why: "the request target names no host, and firma's proxy serves nothing itself"}
	}
	if c.call, err = intent.FromAbsolute(method(c.req.Method), string(c.req.Target)); err != nil {
		return "", err
	}
	if c.call.Transport == intent.HTTPS && c.srv.cfg.TLS == nil {
		return "", &intent.Error{Why: "no connection is looked into here, so TLS is the client's: it must ask for an https:// URL by CONNECT"}
	}
	if c.req.Host != nil && !bytes.Equal(c.req.Host, authority(c.req.Target)) {
		if err := sameHost(&c.call, c.req.Host); err != nil {
			return "", err
		}
	}
	return "", c.setOverride()
}

// method avoids an allocation for the methods everybody uses.
func method(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "HEAD":
		return "HEAD"
	case "PUT":
		return "PUT"
	}
	return string(b)
}

// authority returns what stands between "://" and the next "/", "?" or "#".
func authority(target []byte) []byte {
	_, rest, _ := bytes.Cut(target, []byte("://"))
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// sameHost compares a Host field with the target, both in canonical form. The
// port of a CONNECT may be left out of Host, as many clients do.
func sameHost(call *intent.Call, value []byte) error {
	host, port, err := intent.SplitHostPort(string(value))
	if err != nil {
		return err
	}
	if port == 0 {
		switch port = 80; call.Transport {
		case intent.Connect:
			port = call.Port
		case intent.HTTPS:
			port = 443
		}
	}
	if host != call.Host || port != call.Port {
		return &intent.Error{Why: "the Host field and the request target name different hosts"}
	}
	return nil
}

func (c *conn) setOverride() error {
	for _, f := range c.req.Fields {
		if !field.Override(f.Name) {
			continue
		}
		if c.req.Nominated(f.Name) { // it would be judged and then dropped
			return &intent.Error{Why: "Connection names a method-override header"}
		}
		if err := c.call.SetOverride(string(f.Value)); err != nil {
			return err
		}
	}
	return nil
}

// appendRequest appends the request as it goes upstream: what was judged, and the
// agent's end-to-end fields without those that the decision redacts.
func (c *conn) appendRequest(b []byte, d *verdict.Decision) []byte {
	b = append(append(b, c.call.Method...), ' ')
	b = append(append(b, c.call.Path...), c.query()...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = http1.AppendField(b, "Host", c.call.HostPort())
	overridden := false
	for _, f := range c.req.Fields {
		switch {
		case http1.Managed(f.Name) || field.Ours(f.Name) || c.req.Nominated(f.Name) || field.Redacted(f.Name, d.RedactHeaders):
		case c.x.socket != nil && websocket.ExtensionsField(string(f.Name)): // only what is known
		case field.Override(f.Name):
			if !overridden {
				b = http1.AppendField(b, f.Name, c.call.Override)
			}
			overridden = true
		default:
			b = http1.AppendField(b, f.Name, f.Value)
		}
	}
	return b
}

func (c *conn) query() string {
	if c.call.RawQuery == "" {
		return ""
	}
	return "?" + c.call.RawQuery
}
