package endpoints

import (
	"io"
	"net/http"
	"time"
)

// bodyTimeout is how long a caller may take to send its request. Streams are
// requests of one message, so this does not bound how long they are answered.
const bodyTimeout = 5 * time.Second

// bounded limits the size of a request's body and the time it takes to arrive.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		// The error is of a writer without deadlines; the server's have them.
		_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
		// connect counts message bytes; the margin is for its framing.
		limited := http.MaxBytesReader(w, r.Body, MaxRequestBytes+1024)
		r.Body = &timedBody{limited, control}
		next.ServeHTTP(w, r)
	})
}

// timedBody lifts the deadline at the end of the body: it would end the response
// otherwise, on HTTP/1.1.
type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
