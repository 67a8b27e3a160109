// Package http1 reads HTTP/1.x messages strictly (RFC 9112): request heads,
// response heads and framed bodies, from bytes that may lie. What two parsers
// could read differently is refused, so a proxy that re-frames what it read here
// can't be desynchronised from the server behind it. Against net/http the
// difference is one-sided: this package only refuses more.
//
// Slices handed out point into the reader's buffer and are valid until its next
// Fill, Narrow or Release. Nothing here is safe for concurrent use.
package http1

// Limits of one message. Beyond them it is malformed.
const (
	MaxLine          = 16 << 10  // bytes of the request or status line
	MaxHead          = 128 << 10 // bytes of all lines of a head
	MaxFields        = 200       // header fields
	MaxTrailer       = 8 << 10   // bytes of a trailer section
	maxTrailerFields = 32
	maxChunkLine     = 512      // bytes of a chunk-size line with its extensions
	maxChunkExcess   = 16 << 10 // bytes of chunk framing beyond what data needs
)

// Error says why bytes are no message; Why quotes nothing of them.
type Error struct{ Why string }

func (e *Error) Error() string { return "malformed message: " + e.Why }

func malformed(why string) error { return &Error{Why: why} }

// Framing is how the end of a body is found.
type Framing uint8

// The framings. UntilClose occurs in responses only.
const (
	NoBody Framing = iota
	Length
	Chunked
	UntilClose
)

// Field is one header field; Value has no surrounding whitespace and no control
// character but the tab.
type Field struct{ Name, Value []byte }
