package h2

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
	"firma/internal/verdict"
)

// request is the request as it goes upstream: what was judged, and the agent's
// end-to-end fields without those that the decision redacts.
func (st *stream) request(d *verdict.Decision) *http.Request {
	call, h := &st.call, &st.head
	req := &http.Request{
		Method: call.Method,
		URL:    &url.URL{Scheme: "https", Host: hostPort(call.Host, call.Port), Opaque: call.Path, RawQuery: call.RawQuery},
		Host:   call.HostPort(),
		Header: st.header(d),
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	trace := expect(&httptrace.ClientTrace{Got1xxResponse: st.interim}, asked{call.Method, st.doubtful, st.badResponse.Store})
	switch {
	case !h.bodyless:
		req.Body, req.ContentLength = st, h.length
		if h.expects {
			req.Header["Expect"] = []string{"100-continue"}
		}
		st.announceTrailers(req, d)
	case repeats(call.Method) && !call.Repeatable():
		// net/http repeats a GET without a body on a new connection if the old one
		// breaks. What an override makes of it may not be repeated.
		req.Body = onceOnly{}
	}
	return req.WithContext(httptrace.WithClientTrace(st.ctx, trace))
}

// doubtful reports whether the request may be answered more than once. Of a body that
// is not sent when the answer comes nothing is known.
func (st *stream) doubtful(told bool) bool {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	sent := st.head.bodyless || st.remoteEnded && st.at == len(st.body) && len(st.ahead) == 0
	return !sent || st.head.expects && !told || st.begins.LikeRequest()
}

// repeats is net/http's opinion of a method.
func repeats(method string) bool {
	return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE"
}

type onceOnly struct{}

func (onceOnly) Read([]byte) (int, error) { return 0, io.EOF }
func (onceOnly) Close() error             { return nil }

func hostPort(host string, port uint16) string {
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(int(port))
}

func (st *stream) header(d *verdict.Decision) http.Header {
	header := make(http.Header, len(st.head.fields)+2)
	header["User-Agent"] = nil // not net/http's
	var crumbs []string
	overridden := false
	for _, f := range st.head.fields {
		switch {
		case http1.Managed([]byte(f.Name)) || field.Ours(f.Name) || field.Redacted(f.Name, d.RedactHeaders):
		case field.Override(f.Name):
			if !overridden {
				header[textproto.CanonicalMIMEHeaderKey(f.Name)] = []string{st.call.Override}
			}
			overridden = true
		case f.Name == "cookie":
			crumbs = append(crumbs, f.Value)
		default:
			key := headerKey(f.Name)
			header[key] = append(header[key], f.Value)
		}
	}
	if crumbs != nil {
		header["Cookie"] = []string{cookies(crumbs)}
	}
	if st.head.te {
		header["Te"] = []string{"trailers"}
	}
	return header
}

// headerKey is the key of a field in an http.Header. net/http takes two of them, by
// their canonical keys, for leave to send a POST once more by itself, which would be
// recorded once: they keep the key that they came with.
func headerKey(name string) string {
	if name == "idempotency-key" || name == "x-idempotency-key" {
		return name
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// announceTrailers arranges for the trailers that the client announced, as far as
// they may be sent: what a server could take for a header field nobody judged.
func (st *stream) announceTrailers(req *http.Request, d *verdict.Decision) {
	for _, f := range st.head.fields {
		if f.Name != "trailer" {
			continue
		}
		for name := range strings.SplitSeq(f.Value, ",") {
			name = strings.ToLower(strings.Trim(name, " \t"))
			if !validName(name) || !http1.TrailerField([]byte(name)) || field.Ours(name) || field.Override(name) || field.Redacted(name, d.RedactHeaders) {
				continue
			}
			if req.Trailer == nil {
				req.Trailer = make(http.Header)
				req.Body = &trailerBody{st, req.Trailer}
			}
			req.Trailer[textproto.CanonicalMIMEHeaderKey(name)] = nil
		}
	}
}

// trailerBody fills in the announced trailers at the end of the body.
type trailerBody struct {
	*stream
	trailer http.Header
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.stream.Read(p)
	if err == io.EOF {
		for _, f := range b.stream.trailers() {
			key := textproto.CanonicalMIMEHeaderKey(f.Name)
			if _, ok := b.trailer[key]; ok {
				b.trailer[key] = append(b.trailer[key], f.Value)
			}
		}
	}
	return n, err
}

func (st *stream) trailers() []hpack.HeaderField {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	t := st.trailer
	st.trailer = nil
	return t
}
