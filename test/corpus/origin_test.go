package corpus

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// rawOrigin keeps the bytes of every connection, with TLS taken off, and answers
// what net/http takes for a request.
type rawOrigin struct {
	ln    net.Listener
	tls   *tls.Config
	pem   string
	mu    sync.Mutex
	conns []*flow
	// replies are what to send for a path instead of the usual answer.
	replies map[string]reply
	mute    bool           // keep what comes, whatever it is, and say nothing
	busy    sync.WaitGroup // connections
}

// reply is raw bytes; then the connection stays open, or is closed.
type reply struct {
	text   string
	close  bool
	socket bool // what follows is no HTTP
	// behind is sent when the next request comes on the connection, ahead of its
	// answer: a response too many that was late.
	behind string
	hasty  bool // it answers Expect without asking for the body
}

// flow is what came on one connection since it was last looked at.
type flow struct {
	origin *rawOrigin
	data   bytes.Buffer
}

func (f *flow) Write(p []byte) (int, error) {
	f.origin.mu.Lock()
	defer f.origin.mu.Unlock()
	return f.data.Write(p)
}

func newOrigin(t *testing.T) *rawOrigin {
	t.Helper()
	o := &rawOrigin{replies: map[string]reply{}}
	o.certify(t)
	var err error
	o.ln, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { o.ln.Close() })
	go func() {
		for {
			nc, err := o.ln.Accept()
			if err != nil {
				return
			}
			o.busy.Go(func() { o.serve(nc) })
		}
	}()
	return o
}

func (o *rawOrigin) addr() string { return o.ln.Addr().String() }

func (o *rawOrigin) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	must(t, err)
	o.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	o.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}}
}

// buffered reads ahead of the connection below.
type buffered struct {
	net.Conn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// keep makes the origin keep what comes on new connections and say nothing.
func (o *rawOrigin) keep(mute bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mute = mute
}

// settle waits until all connections have ended.
func (o *rawOrigin) settle() { o.busy.Wait() }

func (o *rawOrigin) serve(nc net.Conn) {
	defer nc.Close()
	o.mu.Lock()
	mute := o.mute
	o.mu.Unlock()
	if mute {
		io.Copy(o.flow(), nc)
		return
	}
	first := buffered{nc, bufio.NewReader(nc)}
	nc = first
	if b, err := first.r.Peek(1); err != nil {
		return
	} else if b[0] == 0x16 {
		tc := tls.Server(first, o.tls)
		if tc.Handshake() != nil {
			return
		}
		nc = tc
	}
	f := o.flow()
	late := ""
	for r := bufio.NewReader(io.TeeReader(nc, f)); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		o.mu.Lock()
		a, ok := o.replies[req.URL.Path]
		o.mu.Unlock()
		if req.Header.Get("Expect") != "" && !a.hasty {
			io.WriteString(nc, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if !ok {
			a.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		}
		if _, err := io.WriteString(nc, late+a.text); err != nil || a.close {
			return
		}
		late = a.behind
		if a.socket {
			io.Copy(io.Discard, r)
			return
		}
	}
}

// flow is a new connection's record.
func (o *rawOrigin) flow() *flow {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := &flow{origin: o}
	o.conns = append(o.conns, f)
	return f
}

// take returns what arrived since the last call, a stream for each connection.
func (o *rawOrigin) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, f := range o.conns {
		if f.data.Len() > 0 {
			out = append(out, f.data.String())
			f.data.Reset()
		}
	}
	return out
}
