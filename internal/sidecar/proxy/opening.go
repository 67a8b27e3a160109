package proxy

import (
	"errors"
	"net"
	"time"

	"firma/internal/intent"
	"firma/internal/sidecar/hello"
	"firma/internal/sidecar/http1"
	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// opening is what a tunnel may begin with.
type opening struct {
	host    string
	ip      bool // host is an address, which no ClientHello names
	web     bool // port 443: it must be TLS
	strict  bool // host is looked into: neither TLS nor HTTP passes unread
	accepts verdict.Accepts
	in      *http1.Reader // of the client
	first   int           // size of the ClientHello, once it was judged; 0: there is none
	due     int           // bytes that were judged, and are passed on with what follows
	answer  answer        // the upstream's to it
}

func newOpening(c *intent.Call, accepts verdict.Accepts, in *http1.Reader, strict bool) *opening {
	return &opening{host: c.Host, ip: c.IsIP, web: c.Port == 443 || strict && c.Port == 80, strict: strict, accepts: accepts, in: in}
}

// open looks at what the client says first and passes it on; false ends the
// tunnel. Nothing is held while the client is silent.
func (t *tunnel) open() bool {
	o := t.opening
	if o == nil {
		return true
	}
	defer o.in.Release()
	if !t.may(o.look(t.client, t.srv.cfg.HeadTimeout), o) {
		return false
	}
	if o.first > 0 {
		o.due = o.first
		return t.follow(o)
	}
	return t.pass(o, len(o.in.Buffered()))
}

// may ends the tunnel if there is a reason to refuse what the client says.
func (t *tunnel) may(refused string, o *opening) bool {
	switch refused {
	case "":
		return true
	case cutMeanwhile:
		return false
	}
	t.refused = refused
	if b := o.in.Buffered(); o.first > 0 || len(b) > 0 && hello.Begins(b) {
		sendAlert(t.client)
	}
	t.abort()
	return false
}

// ahead is what was read and not judged yet.
func (o *opening) ahead() []byte { return o.in.Buffered()[o.due:] }

// pass sends the upstream what is due, and n bytes more of what was read of the client.
func (t *tunnel) pass(o *opening, n int) bool {
	n += o.due
	if o.due = 0; n == 0 {
		return true
	}
	n, err := t.upstream.Write(o.in.Buffered()[:n])
	o.in.Discard(n)
	t.sent += int64(n) // what was sent is recorded, even if that was not all
	t.moved.Add(int64(n))
	if err != nil {
		t.broke(&writeError{err}, false)
	}
	return err == nil
}

// look reads what must be judged and returns why it is refused. The end of the
// client is none: carrying the tunnel will find it.
func (o *opening) look(client net.Conn, patience time.Duration) string {
	if len(o.in.Buffered()) == 0 {
		if w, ok := client.(interface{ AwaitRead() error }); ok {
			_ = w.AwaitRead() // Fill tells why
		}
		// What a deadline of others kept from being read must not be carried unread.
		switch err := o.in.Fill(); {
		case isTimeout(err):
			return lateHello
		case isGone(err):
			return ""
		case err != nil: // what is still to come, too: descriptors or memory may have run out
			return unreadable
		}
	}
	client.SetReadDeadline(time.Now().Add(patience))
	defer client.SetReadDeadline(time.Time{})
	if o.strict {
		return o.other()
	}
	sort := hello.SortOf(o.in.Buffered())
	for ; sort == hello.Unclear; sort = hello.SortOf(o.in.Buffered()) {
		if err := o.in.Fill(); err != nil {
			return o.late(err)
		}
	}
	if sort == hello.Foreign {
		return o.notTLS()
	}
	h, err := readHello(o.in)
	switch {
	case err == nil:
		o.first = h.Size
		return o.judge(&h)
	case !isHello(err):
		return o.late(err)
	case o.accepts.Has(verdict.AcceptNonTLS):
		return ""
	}
	return why(err)
}

// other refuses what would have been looked into, had it come at once and in order.
func (o *opening) other() string {
	for {
		switch mannerOf(o.in.Buffered()) {
		case unclear:
			if err := o.in.Fill(); errors.Is(err, net.ErrClosed) {
				return cutMeanwhile
			} else if err != nil {
				return "the host is looked into, and it did not become clear in time what its stream carries"
			}
		case other:
			return o.notTLS()
		default:
			return "the host is looked into, and its stream became TLS or HTTP only after it was taken for a tunnel"
		}
	}
}

func (o *opening) late(err error) string {
	if errors.Is(err, http1.ErrNoRoom) {
		return refusal.NoMemory
	}
	if errors.Is(err, net.ErrClosed) {
		return cutMeanwhile
	}
	if isTimeout(err) {
		return lateHello
	}
	return "the client left in the middle of its ClientHello"
}

const (
	lateHello  = "the ClientHello did not arrive in time"
	unreadable = "what the client begins with could not be read"
	// cutMeanwhile is no refusal: the tunnel has been ended by others.
	cutMeanwhile = "cut meanwhile"
)

func (o *opening) notTLS() string {
	if !o.web || o.accepts.Has(verdict.AcceptNonTLS) {
		return ""
	}
	if o.strict {
		return "the host is looked into, and on this port its streams must be TLS or HTTP" + unless("non_tls")
	}
	return "a tunnel to port 443 must carry TLS" + unless("non_tls")
}

func (o *opening) judge(h *hello.Hello) string {
	switch {
	case h.ECH && !o.accepts.Has(verdict.AcceptECH):
		return "the ClientHello hides its server name (ECH)" + unless("ech")
	case h.ServerName == "" && !o.ip && !o.accepts.Has(verdict.AcceptMissingSNI):
		return "the ClientHello names no server" + unless("missing_sni")
	case h.ServerName != "" && !h.Names(o.host) && !o.accepts.Has(verdict.AcceptAnySNI):
		return "the ClientHello names another server than the tunnel's" + unless("any_sni")
	}
	return ""
}

func unless(word string) string {
	return "; its CONNECT rule can permit that with tunnel_accepts = [\"" + word + "\"]"
}
