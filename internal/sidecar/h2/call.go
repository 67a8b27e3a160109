package h2

import (
	"strings"

	"firma/internal/intent"
	"firma/internal/sidecar/field"
)

// read makes the canonical call of the request. A WebSocket's extended CONNECT
// (RFC 8441) is the GET that would ask for it in HTTP/1.1.
func (st *stream) read() error {
	h := &st.head
	method := h.method
	if h.protocol != "" {
		if h.protocol != "websocket" {
			return &intent.Error{Why: "an extended CONNECT for another protocol than WebSocket"}
		}
		if h.bodyless || h.length >= 0 {
			return &intent.Error{Why: "an extended CONNECT without a stream"}
		}
		method = "GET"
	}
	authority := h.authority
	if authority == "" {
		authority = h.host
	}
	if authority == "" {
		return &intent.Error{Why: "neither :authority nor Host"}
	}
	if h.path[0] != '/' { // RFC 9113, section 8.3.1
		return &intent.Error{Why: "the path does not start with a slash"}
	}
	var err error
	if st.call, err = intent.FromOrigin(intent.HTTPS, method, authority, h.path); err != nil {
		return err
	}
	if st.call.Host != st.c.host || st.call.Port != st.c.port {
		return &intent.Error{Why: "the request names another host or port than the connection it came on"}
	}
	if h.hosts > 0 && h.host != authority {
		if err := st.sameHost(); err != nil {
			return err
		}
	}
	for _, f := range h.fields {
		if field.Override(f.Name) {
			if err := st.call.SetOverride(f.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (st *stream) sameHost() error {
	host, port, err := intent.SplitHostPort(st.head.host)
	if err != nil {
		return err
	}
	if port == 0 {
		port = 443
	}
	if host != st.call.Host || port != st.call.Port {
		return &intent.Error{Why: "the Host field and :authority name different hosts"}
	}
	return nil
}

// cookies joins what HTTP/2 may split (RFC 9113, section 8.2.3).
func cookies(crumbs []string) string { return strings.Join(crumbs, "; ") }
