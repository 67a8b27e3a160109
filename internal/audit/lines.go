package audit

import (
	"bufio"
	"errors"
	"io"
)

// lines splits a file into lines without holding more than one of them.
type lines struct {
	r    *bufio.Reader
	n    int // number of the line last returned, from 1
	held []byte
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next line without its line feed, valid until the next call,
// and whether it had one. Of a line longer than any event only the beginning is
// returned. The error is io.EOF at the end, or a read error.
func (l *lines) next() (line []byte, whole bool, err error) {
	l.held = l.held[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.held) <= MaxEventBytes {
			l.held = append(l.held, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			l.n++
			return l.held[:len(l.held)-1], true, nil
		case !errors.Is(err, io.EOF) || len(l.held) == 0:
			return nil, false, err
		}
		l.n++
		return l.held, false, nil
	}
}
