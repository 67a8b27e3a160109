// Package attach is how a run joins a Sidecar that it did not start, over the
// address where that Sidecar serves HTTP, too. A connection of firma's begins with
// one line that no HTTP request begins with, and says what it is for:
//
//	A  attach: a run's one line of control, open as long as the run
//	R  relay: one connection of the agent, byte for byte
//	D  dns: questions of the sandbox, each after its length in two bytes
//	C  captured: one connection of the agent that was meant for somebody else, after
//	   that address: 16 bytes, IPv4 as IPv4-mapped, and the port in two
//
// The launcher writes it before anything of the agent's, so the agent can't say
// whose it is. docs/sidecar.md is the protocol, with who proves what to whom.
package attach

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Magic begins every connection of firma's; "/" is no character of an HTTP method.
const Magic = "FIRMA/1 "

// Kind says what a connection is for.
type Kind byte

// The kinds. A reply is granted, refused, or says that the Sidecar takes no runs.
const (
	Control Kind = 'A'
	Relay   Kind = 'R'
	DNS     Kind = 'D'
	Capture Kind = 'C'

	granted Kind = 'K'
	refused Kind = 'X'
	noRuns  Kind = 'N'
)

// HandshakeTimeout bounds the exchange of the first lines.
const HandshakeTimeout = 5 * time.Second

// The lengths of the first lines in bytes.
const (
	idBytes   = 16
	macBytes  = sha256.Size
	headerLen = len(Magic) + 1 + 3 + 2*(2*idBytes) + 2*macBytes + 1
	replyLen  = len(Magic) + 1 + 2 + 2*idBytes + 2*macBytes + 1
)

type (
	id  [idBytes]byte
	mac [macBytes]byte
)

// Key proves that a connection belongs to a run. It never crosses a network.
type Key [macBytes]byte

// Header is the first line of a connection, as received. Nothing in it has been
// verified.
type Header struct {
	Kind  Kind
	Run   string // the run a Relay or DNS connection says it belongs to
	nonce id
	proof mac
}

var errHeader = errors.New("the first line is not firma's")

// ReadHeader reads exactly the first line of a connection.
func ReadHeader(r io.Reader) (Header, error) {
	var b [headerLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Header{}, err
	}
	return parseHeader(b[:])
}

func parseHeader(b []byte) (Header, error) {
	var h Header
	var run id
	p := parser{b: b, ok: len(b) == headerLen}
	p.text(Magic)
	h.Kind = p.kind()
	p.text(" ")
	p.hex(run[:])
	p.text(" ")
	p.hex(h.nonce[:])
	p.text(" ")
	p.hex(h.proof[:])
	p.text("\n")
	if !p.ok || h.Kind != Control && h.Kind != Relay && h.Kind != DNS && h.Kind != Capture {
		return Header{}, errHeader
	}
	h.Run = hex.EncodeToString(run[:])
	return h, nil
}

func appendHeader(b []byte, k Kind, run, nonce id, proof mac) []byte {
	return fmt.Appendf(b, "%s%c %x %x %x\n", Magic, k, run, nonce, proof)
}

// reply is the answer to a header: for Control the run's name and the proof, or
// over a unix socket the key itself; else the proof alone.
type reply struct {
	kind  Kind
	run   id
	value mac
}

func readReply(r io.Reader) (reply, error) {
	var b [replyLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return reply{}, err
	}
	var y reply
	p := parser{b: b[:], ok: true}
	p.text(Magic)
	y.kind = p.kind()
	p.text(" ")
	p.hex(y.run[:])
	p.text(" ")
	p.hex(y.value[:])
	p.text("\n")
	if !p.ok || y.kind != granted && y.kind != refused && y.kind != noRuns {
		return reply{}, errHeader
	}
	return y, nil
}

func (y reply) append(b []byte) []byte {
	return fmt.Appendf(b, "%s%c %x %x\n", Magic, y.kind, y.run, y.value)
}

// parser takes a line apart; ok turns false at the first thing that is not there.
// Only lower-case digits count: a line has one spelling.
type parser struct {
	b  []byte
	ok bool
}

func (p *parser) take(n int) []byte {
	if !p.ok || len(p.b) < n {
		p.ok = false
		return make([]byte, n)
	}
	head := p.b[:n]
	p.b = p.b[n:]
	return head
}

func (p *parser) text(want string) {
	if string(p.take(len(want))) != want {
		p.ok = false
	}
}

func (p *parser) kind() Kind { return Kind(p.take(1)[0]) }

func (p *parser) hex(into []byte) {
	digits := p.take(2 * len(into))
	if _, err := hex.Decode(into, digits); err != nil || hex.EncodeToString(into) != string(digits) {
		p.ok = false
	}
}

func random[T id | mac | Key]() (v T) {
	b := make([]byte, len(v))
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	copy(sliceOf(&v), b)
	return v
}

func sliceOf[T id | mac | Key](v *T) []byte {
	switch v := any(v).(type) {
	case *id:
		return v[:]
	case *mac:
		return v[:]
	case *Key:
		return v[:]
	}
	return nil
}

// prove is the MAC of the parts under key, with what it is for: a proof of one
// kind is none of another.
func prove(key []byte, what string, parts ...[]byte) (m mac) {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "firma attach v1 %s\n", what)
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	h.Sum(m[:0])
	return m
}

func (m mac) equal(n mac) bool { return hmac.Equal(m[:], n[:]) }
