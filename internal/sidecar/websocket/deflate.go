package websocket

import "strings"

// deflate are the parameters of permessage-deflate (RFC 7692, section 7.1).
type deflate struct {
	serverFresh, clientFresh bool // no context takeover
	serverBits, clientBits   int  // at most, 8 to 15; 0 for no limit
	clientLimits             bool // client_max_window_bits is there
}

// parseOffer reads one element of a client's Sec-WebSocket-Extensions; false if it
// is no permessage-deflate, or one that must be declined.
func parseOffer(e string) (deflate, bool) { return parse(e, false) }

// parseAgreed reads one of a server's.
func parseAgreed(e string) (deflate, bool) { return parse(e, true) }

func parse(e string, answer bool) (d deflate, ok bool) {
	params := split(e, ';')
	if !strings.EqualFold(params[0], "permessage-deflate") {
		return d, false
	}
	for _, p := range params[1:] {
		name, value, valued := strings.Cut(p, "=")
		name, value = trim(name), unquote(trim(value))
		ok := false
		switch strings.ToLower(name) {
		case "server_no_context_takeover":
			ok = !valued && !d.serverFresh
			d.serverFresh = true
		case "client_no_context_takeover":
			ok = !valued && !d.clientFresh
			d.clientFresh = true
		case "server_max_window_bits":
			ok = d.serverBits == 0
			d.serverBits = bits(value)
			ok = ok && d.serverBits > 0
		case "client_max_window_bits":
			ok = !d.clientLimits
			d.clientLimits = true
			if valued || answer {
				d.clientBits = bits(value)
				ok = ok && d.clientBits > 0
			}
		}
		if !ok {
			return d, false
		}
	}
	return d, true
}

// accepts reports whether a server may answer offer with d.
func (d deflate) accepts(offer deflate) bool {
	switch {
	case offer.serverFresh && !d.serverFresh:
		return false
	case offer.serverBits > 0 && (d.serverBits == 0 || d.serverBits > offer.serverBits):
		return false
	case d.clientLimits && !offer.clientLimits:
		return false
	case offer.clientBits > 0 && d.clientBits > offer.clientBits:
		return false
	}
	return true
}

// bits reads 8 to 15, without leading zeros; 0 for anything else.
func bits(s string) int {
	switch {
	case len(s) == 1 && (s[0] == '8' || s[0] == '9'):
		return int(s[0] - '0')
	case len(s) == 2 && s[0] == '1' && '0' <= s[1] && s[1] <= '5':
		return 10 + int(s[1]-'0')
	}
	return 0
}

// unquote takes the quotes off a value; none that is known has anything to escape.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func trim(s string) string { return strings.Trim(s, " \t") }

// split cuts s at sep, but not in quotes, and trims the parts. There is always one.
func split(s string, sep byte) (parts []string) {
	quoted, from := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, trim(s[from:i]))
			from = i + 1
		}
	}
	return append(parts, trim(s[from:]))
}
