package http1

import "bytes"

// Head is what requests and responses have in common.
type Head struct {
	Minor  int // of the version HTTP/1.<Minor>: 0 or 1
	Fields []Field
	// KeepAlive reports whether the connection may carry another message after
	// this one, as far as the sender is concerned.
	KeepAlive bool
	// Upgrade is the value of the Upgrade field, if Connection names it.
	Upgrade []byte
	Framing Framing
	Length  int64 // of the body with framing Length
	// HasLength reports whether a Content-Length was sent, also where it frames
	// nothing (HEAD, 304); Length is its value then.
	HasLength bool

	options  [][]byte // connection options that name fields
	codings  int      // Transfer-Encoding fields
	chunked  bool     // the only one is "chunked"
	upgrade  []byte
	close    bool
	persists bool // Connection: keep-alive
	upgrades bool // Connection: upgrade
}

func (h *Head) reset() {
	*h = Head{Fields: h.Fields[:0], options: h.options[:0]}
}

// field takes one header line of either kind of message.
func (h *Head) field(line []byte) error {
	f, err := parseField(line)
	if err != nil {
		return err
	}
	h.Fields = append(h.Fields, f)
	switch len(f.Name) {
	case len("upgrade"):
		if EqualFold(f.Name, "upgrade") {
			return h.setUpgrade(f.Value)
		}
	case len("connection"):
		if EqualFold(f.Name, "connection") {
			return h.setConnection(f.Value)
		}
	case len("content-length"):
		if foldAny(f.Name, "content-length") {
			return h.setLength(f)
		}
	case len("transfer-encoding"):
		if foldAny(f.Name, "transfer-encoding") {
			return h.setCoding(f)
		}
	}
	return nil
}

// foldAny is EqualFold with everything but letters and digits taken for "-", the
// only such byte of lower: servers that pass fields on as CGI variables can't tell
// them apart.
func foldAny(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if lower[i] == '-' && isAlnum(c) || lower[i] != '-' && c|0x20 != lower[i] {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}

func (h *Head) setUpgrade(v []byte) error {
	if h.upgrade != nil {
		return malformed("more than one Upgrade field")
	}
	h.upgrade = v
	return nil
}

func (h *Head) setLength(f Field) error {
	n, ok := parseLength(f.Value)
	if !ok || h.HasLength || !EqualFold(f.Name, "content-length") {
		return malformed("Content-Length is not one plain number")
	}
	h.Length, h.HasLength = n, true
	return nil
}

func (h *Head) setCoding(f Field) error {
	h.codings++
	h.chunked = h.codings == 1 && EqualFold(f.Value, "chunked")
	if !h.chunked || !EqualFold(f.Name, "transfer-encoding") {
		return malformed("Transfer-Encoding is not exactly \"chunked\"")
	}
	return nil
}

func (h *Head) setConnection(v []byte) error {
	for len(v) > 0 {
		var option []byte
		option, v, _ = bytes.Cut(v, []byte{','})
		option = trimOWS(option)
		switch {
		case len(option) == 0: // empty list elements are allowed
		case !isToken(option):
			return malformed("a connection option is not a token")
		case EqualFold(option, "close"):
			h.close = true
		case EqualFold(option, "keep-alive"):
			h.persists = true
		case EqualFold(option, "upgrade"):
			h.upgrades = true
		case endToEnd(option):
			return malformed("Connection names an end-to-end header field")
		default:
			h.options = append(h.options, option)
		}
	}
	return nil
}

// endToEnd reports whether removing the field because Connection names it would
// change what the message means or who sends it.
func endToEnd(name []byte) bool {
	for _, prefix := range []string{"content-", "content_", "if-", "accept", "x-forwarded-", "sec-", "access-control-"} {
		if HasPrefixFold(name, prefix) {
			return true
		}
	}
	for _, s := range []string{"host", "transfer-encoding", "authorization", "cookie", "set-cookie", "expect", "range",
		"origin", "referer", "cache-control", "date", "location", "www-authenticate", "x-api-key", "user-agent", "vary", "etag"} {
		if EqualFold(name, s) {
			return true
		}
	}
	return false
}

// Nominated reports whether Connection names the field, which makes it
// hop-by-hop.
func (h *Head) Nominated(name []byte) bool {
	for _, o := range h.options {
		if len(o) == len(name) && bytes.EqualFold(o, name) {
			return true
		}
	}
	return false
}

// frame settles the framing from the fields; none is the framing without any.
func (h *Head) frame(none Framing) error {
	h.KeepAlive = !h.close && (h.Minor == 1 || h.persists)
	if h.upgrades {
		h.Upgrade = h.upgrade
	}
	switch {
	case h.codings > 0 && h.HasLength:
		return malformed("both Content-Length and Transfer-Encoding")
	case h.codings > 0 && h.Minor == 0:
		return malformed("Transfer-Encoding in HTTP/1.0")
	case h.codings > 0:
		h.Framing = Chunked
	case h.HasLength:
		h.Framing = Length
	default:
		h.Framing = none
	}
	return nil
}

func (h *Head) setVersion(b []byte) error {
	switch string(b) {
	case "HTTP/1.1":
		h.Minor = 1
	case "HTTP/1.0":
		h.Minor = 0
	default:
		return malformed("the version is neither HTTP/1.0 nor HTTP/1.1")
	}
	return nil
}
