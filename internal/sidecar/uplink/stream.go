package uplink

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

// feed is a server stream as channels, so that its reader can also wait for a
// timer.
type feed[T any] struct {
	opened   chan struct{} // closed once header is set
	messages chan *T       // closed at the end of the stream, then err is set
	header   http.Header
	err      error
}

// follow reads stream until it ends or ctx does.
func follow[T any](ctx context.Context, u *Uplink, stream *connect.ServerStreamForClient[T]) *feed[T] {
	f := &feed[T]{opened: make(chan struct{}), messages: make(chan *T)}
	u.tasks.Go(func() {
		defer close(f.messages)
		defer stream.Close()
		f.header = stream.ResponseHeader() // waits for it
		close(f.opened)
		for stream.Receive() { // each message is a new one
			select {
			case f.messages <- stream.Msg():
			case <-ctx.Done():
				f.err = context.Cause(ctx)
				return
			}
		}
		f.err = streamEnd(stream.Err())
	})
	return f
}

// streamEnd says why a stream ended; never nil.
func streamEnd(err error) error {
	if err == nil {
		return connect.NewError(connect.CodeUnavailable, errors.New("the Authority ended the stream"))
	}
	return err
}
