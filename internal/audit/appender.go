package audit

import (
	"errors"
	"io"
)

// file is what an appender needs of *os.File.
type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// appender adds whole blocks to a file, or nothing. It is for one goroutine.
type appender struct {
	f    file
	size int64 // bytes that were appended completely
	sync bool  // each block is durable when append returns
	torn error // a failed block could not be removed: the file ends in half a line
}

// append writes block. After an error the file is cut back to what it was, so
// that half a line never hides the lines before it.
func (a *appender) append(block []byte) error {
	if a.torn != nil {
		return a.torn
	}
	_, err := a.f.Write(block)
	if err == nil && a.sync {
		err = a.f.Sync()
	}
	if err != nil {
		a.torn = a.f.Truncate(a.size)
		return errors.Join(err, a.torn)
	}
	a.size += int64(len(block))
	return nil
}
