package h2

import (
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/field"
	"firma/internal/sidecar/http1"
)

const (
	copySize    = 32 << 10
	maxInterims = 32 // 1xx responses before the final one
)

var copyPool = sync.Pool{New: func() any { return new([copySize]byte) }}

// respond passes the final response on.
func (x *exchange) respond(resp *http.Response) error {
	fields, err := responseFields(resp, x.call.Method)
	if err != nil {
		return err
	}
	buf := copyPool.Get().(*[copySize]byte)
	defer copyPool.Put(buf)
	if resp.ContentLength == 0 || x.call.Method == "HEAD" {
		// The head may be the end, and must be then: gRPC tells an error by it.
		if _, err := resp.Body.Read(buf[:]); err != nil && err != io.EOF {
			return err
		}
		if len(resp.Trailer) == 0 {
			return x.writeHead(fields, true)
		}
		if err := x.writeHead(fields, false); err != nil {
			return err
		}
		return x.writeTrailer(resp.Trailer)
	}
	if err := x.writeHead(fields, false); err != nil {
		return err
	}
	for left := resp.ContentLength; ; {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			x.res.ResponseBytes += int64(n)
			left -= int64(n)
			if err := x.writeData(buf[:n], false, left == 0 || err == io.EOF); err != nil {
				return err
			}
			x.moved.Add(int64(n))
		}
		if err == io.EOF {
			return x.writeTrailer(resp.Trailer)
		}
		if err != nil {
			return err
		}
	}
}

func (x *exchange) writeTrailer(trailer http.Header) error {
	var fields []hpack.HeaderField
	for key, values := range trailer {
		name := strings.ToLower(key)
		if !trailerField(name) {
			continue
		}
		for _, v := range values {
			if !validName(name) || !validValue(v) {
				return &responseError{"an invalid trailer field"}
			}
			fields = append(fields, hpack.HeaderField{Name: name, Value: v})
		}
	}
	if fields == nil {
		return x.writeData(nil, true, false)
	}
	return x.writeHead(fields, true)
}

func trailerField(name string) bool { return http1.TrailerField([]byte(name)) && !field.Ours(name) }

// responseFields is the head of a response as the client gets it: the end-to-end
// fields as they came.
func responseFields(resp *http.Response, method string) ([]hpack.HeaderField, error) {
	fields := make([]hpack.HeaderField, 0, len(resp.Header)+2)
	fields = append(fields, hpack.HeaderField{Name: ":status", Value: strconv.Itoa(resp.StatusCode)})
	fields, err := appendFields(fields, resp.Header)
	if err != nil {
		return nil, err
	}
	var names []string
	for key := range resp.Trailer {
		if name := strings.ToLower(key); validName(name) && trailerField(name) {
			names = append(names, name)
		}
	}
	if names != nil {
		fields = append(fields, hpack.HeaderField{Name: "trailer", Value: strings.Join(names, ", ")})
	}
	switch length := resp.Header["Content-Length"]; {
	case resp.StatusCode == 204:
	case resp.ContentLength >= 0 && len(length) > 0:
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(resp.ContentLength, 10)})
	case (method == "HEAD" || resp.StatusCode == 304) && len(length) == 1:
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: textproto.TrimString(length[0])})
	}
	return fields, nil
}

// appendFields copies end-to-end fields. What an HTTP/1.1 upstream's Connection
// names is not.
func appendFields(fields []hpack.HeaderField, header http.Header) ([]hpack.HeaderField, error) {
	for key, values := range header {
		name := strings.ToLower(key)
		if http1.Managed([]byte(name)) || field.Ours(name) || nominated(header, name) {
			continue
		}
		for _, v := range values {
			if v = textproto.TrimString(v); !validName(name) || !validValue(v) {
				return nil, &responseError{"an invalid header field"}
			}
			fields = append(fields, hpack.HeaderField{Name: name, Value: v})
		}
	}
	return fields, nil
}

func nominated(header http.Header, name string) bool {
	for _, v := range header["Connection"] {
		for option := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), name) {
				return true
			}
		}
	}
	return false
}

// interim passes a 1xx on. A 100 nobody waits for ends here. It is called on the
// upstream connection's own goroutine.
func (st *stream) interim(code int, header textproto.MIMEHeader) error {
	if code == 100 && !st.head.expects || code == 101 {
		return nil
	}
	fields, err := appendFields([]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(code)}}, http.Header(header))
	if err != nil {
		return err
	}
	st.writeInterim(fields)
	return nil
}
