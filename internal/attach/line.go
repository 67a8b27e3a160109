package attach

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"firma/internal/control"
)

// maxMessage is the largest message in bytes.
const maxMessage = 1 << 20

// Line carries messages, one JSON object a line, between a run and its Sidecar.
// Send may be called concurrently; Recv by one goroutine at a time.
type Line struct {
	conn net.Conn
	in   *bufio.Reader
	mu   sync.Mutex
}

func newLine(conn net.Conn) *Line { return &Line{conn: conn, in: bufio.NewReader(conn)} }

// Send writes one message.
func (l *Line) Send(m control.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) >= maxMessage {
		return fmt.Errorf("attach: message of %d bytes exceeds %d", len(b), maxMessage)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.conn.Write(append(b, '\n'))
	return err
}

// Recv reads one message. It returns io.EOF once the peer is gone.
func (l *Line) Recv() (control.Message, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxMessage:
			return control.Message{}, fmt.Errorf("attach: a message exceeds %d bytes", maxMessage)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return control.Message{}, io.EOF // a message cut short is none
		}
		var m control.Message
		return m, json.Unmarshal(line, &m)
	}
}

// Close ends the line; the peer's Recv then returns io.EOF.
func (l *Line) Close() error { return l.conn.Close() }
