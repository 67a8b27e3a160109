package hook

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/sidecar/field"
	"firma/internal/wire/interceptorv1"
)

// call is the canonical form of what the caller would send. What it can't send
// without the upstream reading something else is refused, as in the proxy.
func call(q *interceptorv1.InterceptRequest) (*intent.Call, error) {
	// A field of a later contract says something about the call that is not judged.
	if len(q.ProtoReflect().GetUnknown()) > 0 {
		return nil, errors.New("the question has fields that this version does not know")
	}
	c, err := canonical(q)
	if err != nil {
		return nil, why(err)
	}
	for name, value := range q.Headers {
		if err := header(&c, name, value, len(q.Body)); err != nil {
			return nil, err
		}
	}
	if err := framing(q.Headers); err != nil {
		return nil, err
	}
	if c.IsPush() {
		if err := readPush(&c, q.Body); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

func canonical(q *interceptorv1.InterceptRequest) (intent.Call, error) {
	switch {
	case q.Method == http.MethodConnect && (q.Path != "" || len(q.Body) > 0):
		return intent.Call{}, errors.New("a CONNECT has no path and no body")
	case q.Method == http.MethodConnect:
		return intent.FromAuthority(q.Host)
	case q.IsHttps:
		return intent.FromOrigin(intent.HTTPS, q.Method, q.Host, q.Path)
	}
	return intent.FromOrigin(intent.HTTP, q.Method, q.Host, q.Path)
}

// header judges one header: those that change what the call is, and those that
// would make more than one call of it where they are written as they are.
func header(c *intent.Call, name, value string, body int) error {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return errors.New("a header is not one name and one value") // and is not quoted: it may end the line of a log
	}
	switch {
	case field.Same(name, "host"):
		if host, port, err := intent.SplitHostPort(value); err != nil || host != c.Host || port != 0 && port != c.Port {
			return errors.New("the Host header and the host are different")
		}
	case field.Override(name):
		return why(c.SetOverride(value))
	case field.Ours(name):
		return errors.New("a header asks for another host or path, or is firma's own")
	case field.Same(name, "upgrade") && !strings.EqualFold(value, "websocket"):
		return errors.New("the call would become another protocol")
	case field.Same(name, "transfer-encoding") && !strings.EqualFold(value, "chunked"):
		return errors.New("the Transfer-Encoding is not chunked")
	case field.Same(name, "content-length"):
		// A question may leave the body out, but not contradict it: what is left
		// over would be read as the next request.
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || strconv.FormatUint(n, 10) != value || body > 0 && n != uint64(body) { // "05" is octal to some
			return errors.New("the Content-Length is not the body's")
		}
	}
	return nil
}

// framing refuses names that differ only in spelling where servers choose one of
// them, and a body of two lengths.
func framing(headers map[string]string) error {
	var hosts, lengths int
	for name := range headers {
		switch {
		case field.Same(name, "host"):
			hosts++
		case field.Same(name, "content-length"), field.Same(name, "transfer-encoding"):
			lengths++
		}
	}
	if hosts > 1 || lengths > 1 {
		return errors.New("the host or the length of the body is said twice")
	}
	return nil
}

// readPush reads what a git push asks for, which decides what the call is.
func readPush(c *intent.Call, body []byte) error {
	updates, done, err := gitpush.Parse(body)
	var e *gitpush.Error
	switch {
	case errors.As(err, &e):
		return errors.New("the commands of a git push are malformed: " + e.Why)
	case err != nil || !done:
		return errors.New("the commands of a git push are not complete")
	}
	c.Push = &intent.Push{Updates: updates}
	return nil
}

func why(err error) error {
	var e *intent.Error
	if errors.As(err, &e) {
		return errors.New(e.Why)
	}
	return err
}
