package origin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Record is one thing that arrived: a connection, or a request on one.
type Record struct {
	Time   time.Time           `json:"time"`
	Kind   string              `json:"kind"`   // "connection" or "request"
	Scheme string              `json:"scheme"` // of the listener: "http" or "https"
	Peer   string              `json:"peer"`
	Proto  string              `json:"proto,omitempty"` // "HTTP/1.1", "HTTP/2.0"
	Host   string              `json:"host,omitempty"`
	SNI    string              `json:"sni,omitempty"`
	Method string              `json:"method,omitempty"`
	Path   string              `json:"path,omitempty"` // with the query, as sent
	Header map[string][]string `json:"header,omitempty"`
	// BodyHash is the hex SHA-256 of the body the handler read, in a second record
	// of kind "body" when there was one: the request itself is recorded before a
	// byte of its body is read.
	BodyHash string `json:"body_sha256,omitempty"`
	BodySize int64  `json:"body_size,omitempty"`
}

// Journal keeps the records in the order they arrived. Safe for concurrent use.
type Journal struct {
	mu      sync.Mutex
	out     io.Writer
	records []Record
	changed chan struct{} // closed at the next record; nil while nobody waits
}

func (j *Journal) add(r Record) {
	r.Time = time.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, r)
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	if j.out != nil {
		line, _ := json.Marshal(r) // no field of it can fail
		_, _ = j.out.Write(append(line, '\n'))
	}
}

// Records returns a copy of what arrived so far.
func (j *Journal) Records() []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Record(nil), j.records...)
}

// Wait returns the first record that ok accepts, also one that arrived before, or
// the error of ctx.
func (j *Journal) Wait(ctx context.Context, ok func(Record) bool) (Record, error) {
	for {
		j.mu.Lock()
		i := slices.IndexFunc(j.records, ok)
		if i >= 0 {
			defer j.mu.Unlock()
			return j.records[i], nil
		}
		if j.changed == nil {
			j.changed = make(chan struct{})
		}
		changed := j.changed
		j.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

// Requests returns the requests for a host, or for every host when it is "".
func (j *Journal) Requests(host string) []Record {
	var found []Record
	for _, r := range j.Records() {
		name := r.Host
		if h, _, err := net.SplitHostPort(r.Host); err == nil {
			name = h
		}
		if r.Kind == "request" && (host == "" || name == host) {
			found = append(found, r)
		}
	}
	return found
}

// Reset forgets what arrived, so that a test can start from nothing.
func (j *Journal) Reset() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = nil
}

// watched records a connection before the server sees it: also one that never
// sends a request, or fails its handshake, has arrived.
type watched struct {
	net.Listener
	journal *Journal
	scheme  string
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		w.journal.add(Record{Kind: "connection", Scheme: w.scheme, Peer: c.RemoteAddr().String()})
	}
	return c, err
}

func (j *Journal) recorded(scheme string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := Record{Kind: "request", Scheme: scheme, Peer: r.RemoteAddr, Proto: r.Proto, Host: r.Host,
			Method: r.Method, Path: r.RequestURI, Header: r.Header.Clone()}
		if r.TLS != nil {
			rec.SNI = r.TLS.ServerName
		}
		j.add(rec)
		body := &summed{r.Body, sha256.New(), 0}
		r.Body = body
		next.ServeHTTP(w, r)
		if body.n > 0 {
			rec.Kind, rec.Header, rec.BodySize, rec.BodyHash = "body", nil, body.n, hex.EncodeToString(body.sum.Sum(nil))
			j.add(rec)
		}
	})
}

type summed struct {
	io.ReadCloser
	sum hash.Hash
	n   int64
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	return n, err
}
