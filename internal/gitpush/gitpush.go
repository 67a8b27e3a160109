// Package gitpush reads what a git push asks for: the commands that stand in
// front of the pack in the body of a POST to git-receive-pack
// (gitprotocol-pack(5), "Reference Update Request"). It is pure, and refuses
// whatever a server could read in another way.
package gitpush

import (
	"bytes"
	"strings"
)

// MaxCommands bounds the bytes in front of the pack: some ten thousand refs.
const MaxCommands = 1 << 20

// Update is one command: make Ref point elsewhere, or remove it.
type Update struct {
	Ref    string // full name; printable UTF-8 that git-check-ref-format(1) accepts
	Create bool   // it does not exist yet, as the client believes
	Delete bool
}

// Type is "branch", "tag" or "ref", as policies know it.
func (u *Update) Type() string {
	switch {
	case strings.HasPrefix(u.Ref, "refs/heads/"):
		return "branch"
	case strings.HasPrefix(u.Ref, "refs/tags/"):
		return "tag"
	}
	return "ref"
}

// Error says why bytes are no list of commands. It quotes nothing of them.
type Error struct{ Why string }

func (e *Error) Error() string { return "malformed push: " + e.Why }

func refuse(why string) error { return &Error{why} }

// Parse reads the commands at the start of body, a prefix of the decoded body
// that may end anywhere. done is false when more of the body is needed; nothing
// else of the results is valid then. No updates at all is what a client sends to
// see whether it may push. Every error is an *Error, and final.
func Parse(body []byte) (updates []Update, done bool, err error) {
	var p Parser
	return p.Parse(body)
}

// Parser is Parse for a body that grows: what it has read it does not read again,
// so that a client can't make work by sending byte for byte. The zero value is
// ready.
type Parser struct {
	at, hash int
	deepened bool
	updates  []Update
}

// Parse is as the function. body begins with what it was called with before.
func (p *Parser) Parse(body []byte) (updates []Update, done bool, err error) {
	for {
		line, n, err := packet(body[p.at:])
		if err != nil {
			return nil, false, err
		}
		if n == 0 {
			if len(body) >= MaxCommands {
				return nil, false, refuse("its commands are too long")
			}
			return nil, false, nil
		}
		if p.at += n; p.at > MaxCommands {
			return nil, false, refuse("its commands are too long")
		}
		switch {
		case line == nil: // flush
			if p.deepened && len(p.updates) == 0 {
				return nil, false, refuse("it has shallow lines and no command")
			}
			return p.updates, true, nil
		case bytes.HasPrefix(line, []byte("shallow ")):
			if len(p.updates) > 0 || !isID(chomp(line[len("shallow "):]), &p.hash) {
				return nil, false, refuse("a shallow line is wrong or out of place")
			}
			p.deepened = true
			continue
		}
		u, err := command(line, len(p.updates) == 0, &p.hash)
		if err != nil {
			return nil, false, err
		}
		p.updates = append(p.updates, u)
	}
}

// packet reads one pkt-line (gitprotocol-common(5)). n is 0 when it is not
// complete, line nil for a flush packet.
func packet(b []byte) (line []byte, n int, err error) {
	if len(b) < 4 {
		return nil, 0, nil
	}
	size := 0
	for _, c := range b[:4] {
		v, ok := hexValue(c)
		if !ok {
			return nil, 0, refuse("a packet's length is no number")
		}
		size = size<<4 | v
	}
	switch {
	case size == 0:
		return nil, 4, nil
	case size <= 4 || size > 65520:
		return nil, 0, refuse("a packet's length is out of range")
	case len(b) < size:
		return nil, 0, nil
	}
	return b[4:size], size, nil
}

// command reads "old new ref", with the client's capabilities behind a NUL in the
// first one.
func command(line []byte, first bool, hash *int) (Update, error) {
	text, caps, hasCaps := bytes.Cut(line, []byte{0})
	switch {
	case hasCaps && !first:
		return Update{}, refuse("capabilities follow a later command than the first")
	case bytes.HasPrefix(text, []byte("push-cert")):
		return Update{}, refuse("signed pushes are not understood; push without --signed")
	case bytes.IndexByte(caps, 0) >= 0:
		return Update{}, refuse("a command has two NUL bytes")
	}
	if !hasCaps {
		text = chomp(text)
	}
	parts := bytes.SplitN(text, []byte{' '}, 3)
	if len(parts) != 3 || !isID(parts[0], hash) || !isID(parts[1], hash) {
		return Update{}, refuse("a command is not two object ids and a ref")
	}
	if !validRef(parts[2]) {
		return Update{}, refuse("a command names something that is no ref")
	}
	u := Update{Ref: string(parts[2]), Create: isZero(parts[0]), Delete: isZero(parts[1])}
	if u.Create && u.Delete {
		return Update{}, refuse("a command changes nothing")
	}
	return u, nil
}

// chomp removes the line feed that a packet may end in.
func chomp(b []byte) []byte { return bytes.TrimSuffix(b, []byte{'\n'}) }

// isID reports an object id in hexadecimal: SHA-1 or SHA-256, the same in all.
func isID(b []byte, hash *int) bool {
	if *hash == 0 && (len(b) == 40 || len(b) == 64) {
		*hash = len(b)
	}
	if len(b) != *hash || *hash == 0 {
		return false
	}
	for _, c := range b {
		if _, ok := hexValue(c); !ok {
			return false
		}
	}
	return true
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "0")) == 0 }

func hexValue(c byte) (int, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}
