package hook

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"firma/internal/intent"
	"firma/internal/sidecar/allowance"
	"firma/internal/verdict"
	"firma/internal/wire/interceptorv1"
	"firma/internal/wire/interceptorv1/interceptorv1connect"
)

var fine = &interceptorv1.InterceptRequest{Method: "GET", Host: "a.test", Path: "/", IsHttps: true}

func encoded(t testing.TB, q *interceptorv1.InterceptRequest) []byte {
	t.Helper()
	b, err := proto.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame is a message as gRPC sends it.
func frame(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// ask sends bytes as the body of a question and returns the message of the answer,
// nil for none.
func ask(t *testing.T, c *http.Client, url, method, contentType, encoding string, body []byte) ([]byte, string) {
	t.Helper()
	r, err := http.NewRequest(method, url+interceptorv1connect.InterceptorHookInterceptProcedure, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Te", "trailers")
	if encoding != "" {
		r.Header.Set("Grpc-Encoding", encoding)
	}
	res, err := c.Do(r)
	if err != nil {
		return nil, err.Error()
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err.Error()
	}
	return got, res.Trailer.Get("Grpc-Status")
}

func plaintext(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestFrames: what is not exactly one question is no permission, and is recorded.
func TestFrames(t *testing.T) {
	j := &judge{}
	url, c := serve(t, j), plaintext(t)
	whole := frame(0, encoded(t, fine))
	if got, status := ask(t, c, url, "POST", "application/grpc", "", whole); status != "0" || !bytes.Equal(got, frame(0, []byte{8, 1})) {
		t.Fatalf("the control: %x, %s", got, status)
	}
	for name, w := range map[string]struct {
		method, contentType, encoding string
		body                          []byte
	}{
		"nothing":              {body: nil},
		"half a prefix":        {body: whole[:3]},
		"half a message":       {body: whole[:len(whole)-2]},
		"two messages":         {body: append(bytes.Clone(whole), whole...)},
		"more behind it":       {body: append(bytes.Clone(whole), 0)},
		"compressed":           {body: frame(1, encoded(t, fine))},
		"compressed with gzip": {body: frame(1, encoded(t, fine)), encoding: "gzip"},
		"said to be gzip":      {body: whole, encoding: "gzip"},
		"end of stream":        {body: frame(0x80, encoded(t, fine))},
		"end flag of Connect":  {body: frame(2, encoded(t, fine))},
		"unknown flag":         {body: frame(0x10, encoded(t, fine))},
		"an empty message":     {body: frame(0, nil)},
		"not protobuf":         {body: frame(0, []byte("GET / HTTP/1.1\r\n\r\n"))},
		"not UTF-8":            {body: frame(0, append(encoded(t, fine), 0x1a, 2, '/', 0xff))},
		"an unknown field":     {body: frame(0, append(encoded(t, fine), 0x42, 1, 'x'))},
		"a field of two types": {body: frame(0, append(encoded(t, fine), 0x08, 1))},
		"JSON":                 {body: []byte(`{"method":"GET","host":"a.test","path":"/"}`), contentType: "application/json"},
		"JSON over gRPC":       {body: frame(0, []byte(`{"method":"GET","host":"a.test","path":"/"}`)), contentType: "application/grpc+json"},
		"gRPC-Web":             {body: whole, contentType: "application/grpc-web"},
		"a form":               {body: whole, contentType: "text/plain"},
		"GET":                  {method: "GET", body: nil},
		"four gigabytes":       {body: append([]byte{0, 0xff, 0xff, 0xff, 0xff}, make([]byte, maxMessage+prefix)...)},
	} {
		t.Run(name, func(t *testing.T) {
			j.mu.Lock()
			j.log = nil
			j.mu.Unlock()
			if w.method == "" {
				w.method = "POST"
			}
			if w.contentType == "" {
				w.contentType = "application/grpc"
			}
			got, status := ask(t, c, url, w.method, w.contentType, w.encoding, w.body)
			if bytes.Contains(got, frame(0, []byte{8, 1})) {
				t.Errorf("allowed: %x, %s", got, status)
			}
			j.settled(t)
			if told := j.told(); told != "malformed grpc" {
				t.Errorf("judged %q; answered %q, %s", told, got, status)
			}
		})
	}
}

// settled waits until something was noted: an answer may come before its record.
func (j *judge) settled(t *testing.T) {
	t.Helper()
	for j.told() == "" {
		select {
		case <-t.Context().Done():
			t.Fatal("nothing was recorded")
		case <-j.noted:
		}
	}
}

// TestOtherLanguages: what does not begin as HTTP/2 gets no answer, and another
// service is none of ours.
func TestOtherLanguages(t *testing.T) {
	j := &judge{}
	url := serve(t, j)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(conn); bytes.Contains(got, []byte(" 200 ")) {
		t.Errorf("an HTTP request was answered: %q", got)
	}
	c := connect.NewClient[interceptorv1.InterceptRequest, interceptorv1.InterceptResponse](plaintext(t), url+"/grpc.health.v1.Health/Check", connect.WithGRPC())
	if _, err := c.CallUnary(context.Background(), connect.NewRequest(fine)); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Error(err)
	}
	if j.told() != "" {
		t.Errorf("judged %q", j.told())
	}
}

// TestRoom: where there is no room for a question it is not looked at.
func TestRoom(t *testing.T) {
	for name, w := range map[string]struct {
		questions int
		bytes     int64
	}{"questions": {0, 1 << 20}, "bytes": {1, 3}} {
		j := &judge{}
		s, err := New(Config{Enforcer: j, Session: "mine", Memory: allowance.New(w.bytes)})
		if err != nil {
			t.Fatal(err)
		}
		s.room = newRoom(w.questions)
		_, err = client(t, listen(t, s)).Intercept(context.Background(), connect.NewRequest(fine))
		if connect.CodeOf(err) != connect.CodeResourceExhausted || j.told() != "" {
			t.Errorf("%s: %v, judged %q", name, err, j.told())
		}
		if err := s.Drain(context.Background()); err != nil || s.room.inside != 0 || s.cfg.Memory.Used() != 0 {
			t.Errorf("%s: %v, %d inside, %d bytes held", name, err, s.room.inside, s.cfg.Memory.Used())
		}
	}
}

// TestConns: connections beyond the bound wait, and all are counted to their end.
func TestConns(t *testing.T) {
	s, err := New(Config{Enforcer: &judge{}, Session: "mine", MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	url := listen(t, s)
	first := plaintext(t)
	if _, status := ask(t, first, url, "POST", "application/grpc", "", frame(0, encoded(t, fine))); status != "0" || s.Conns() != 1 {
		t.Fatalf("status %s, %d connections", status, s.Conns())
	}
	answered := make(chan string, 1)
	second := plaintext(t)
	go func() {
		_, status := ask(t, second, url, "POST", "application/grpc", "", frame(0, encoded(t, fine)))
		answered <- status
	}()
	select {
	case status := <-answered:
		t.Fatalf("a second connection was served: %s", status)
	default:
	}
	first.CloseIdleConnections()
	if status := <-answered; status != "0" {
		t.Errorf("status %s", status)
	}
}

// TestDrain: a question that is not whole when the time is over is cut, and nothing
// is decided afterwards.
func TestDrain(t *testing.T) {
	j := &judge{}
	s, err := New(Config{Enforcer: j, Session: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, over := make(chan struct{}), make(chan error, 1)
	s.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		s.ServeHTTP(w, r)
	})
	go func() { over <- s.Serve(context.Background(), ln) }()
	url := "http://" + ln.Addr().String()
	out, in := io.Pipe()
	r, err := http.NewRequest("POST", url+interceptorv1connect.InterceptorHookInterceptProcedure, out)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	answered := make(chan []byte, 1)
	c := plaintext(t)
	go func() {
		var b []byte
		if res, err := c.Do(r); err == nil {
			b, _ = io.ReadAll(res.Body)
			res.Body.Close()
		}
		answered <- b
	}()
	whole := frame(0, encoded(t, fine))
	if _, err := in.Write(whole[:4]); err != nil {
		t.Fatal(err)
	}
	<-arrived
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drained: %v", err)
	}
	told := j.told()
	_, _ = in.Write(whole[4:])
	in.Close()
	if got := <-answered; bytes.Contains(got, []byte{8, 1}) {
		t.Errorf("allowed: %x", got)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	if strings.Contains(told+j.told(), "GET") || told != j.told() {
		t.Errorf("judged %q and then %q", told, j.told())
	}
	w := httptest.NewRecorder()
	late := httptest.NewRequest("POST", interceptorv1connect.InterceptorHookInterceptProcedure, bytes.NewReader(whole))
	late.Header.Set("Content-Type", "application/grpc")
	s.ServeHTTP(w, late)
	if w.Body.Len() != 0 || w.Result().Trailer.Get("Grpc-Status") != "14" || told != j.told() {
		t.Errorf("after the end: %q %v, judged %q", w.Body, w.Result().Trailer, j.told())
	}
}

// lenient allows all that it is asked, and keeps it.
type lenient struct {
	judge
	last *intent.Call
}

func (l *lenient) Enforce(_ context.Context, c *intent.Call) verdict.Decision {
	l.last = c
	return verdict.Decision{Outcome: verdict.Allow}
}

// FuzzQuestion: whatever bytes are sent, what is allowed is one question in full,
// and what was judged is what it says.
func FuzzQuestion(f *testing.F) {
	f.Add(frame(0, encoded(f, fine)))
	f.Add(frame(0, encoded(f, headers("POST", "Host", "a.test", "X-HTTP-Method-Override", "put"))))
	f.Add(frame(0, encoded(f, &interceptorv1.InterceptRequest{Method: "CONNECT", Host: "a.test:443"})))
	f.Add(frame(0, encoded(f, &interceptorv1.InterceptRequest{Method: "POST", Host: "a.test", Path: "/o/r.git/git-receive-pack", Body: []byte("0000")})))
	f.Add(frame(1, []byte("x")))
	f.Fuzz(func(t *testing.T, sent []byte) {
		l := &lenient{}
		s, err := New(Config{Enforcer: l, Session: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", interceptorv1connect.InterceptorHookInterceptProcedure, bytes.NewReader(sent))
		r.Header.Set("Content-Type", "application/grpc")
		r.ProtoMajor, r.ProtoMinor = 2, 0
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if s.room.inside != 0 || s.cfg.Memory.Used() != 0 {
			t.Fatalf("%d inside, %d bytes held", s.room.inside, s.cfg.Memory.Used())
		}
		if !bytes.Equal(w.Body.Bytes(), frame(0, []byte{8, 1})) {
			return
		}
		q := &interceptorv1.InterceptRequest{}
		if len(sent) < prefix || sent[0] != 0 || int(binary.BigEndian.Uint32(sent[1:])) != len(sent)-prefix || proto.Unmarshal(sent[prefix:], q) != nil {
			t.Fatalf("allowed without a question: %x", sent)
		}
		if l.last == nil || l.last.Method != q.Method || l.last.Host == "" || l.last.Port == 0 || q.SessionId != "" && q.SessionId != "mine" {
			t.Fatalf("judged %+v for %v", l.last, q)
		}
		for name, value := range q.Headers {
			if strings.ContainsAny(name+value, "\r\n\x00: \t") && strings.ContainsAny(name, "\r\n\x00: \t") || strings.ContainsAny(value, "\r\n\x00") {
				t.Fatalf("a header that is more than one: %q %q", name, value)
			}
		}
	})
}
