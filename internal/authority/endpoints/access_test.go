package endpoints

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"firma/internal/wire/firmav1"
	"firma/internal/wire/witnessv1"
)

// Every method has an entry and every entry a method. Who is let through is
// tested over the network, in the authority package.
func TestAccessCoversEveryMethod(t *testing.T) {
	left := map[string]bool{}
	for procedure := range access {
		left[procedure] = true
	}
	for _, f := range []protoreflect.FileDescriptor{firmav1.File_firma_v1_authority_proto, witnessv1.File_firma_witness_v1_witness_proto} {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				procedure := "/" + string(s.FullName()) + "/" + string(s.Methods().Get(j).Name())
				if access[procedure] == nobody {
					t.Errorf("%s may be called by nobody", procedure)
				}
				delete(left, procedure)
			}
		}
	}
	for procedure := range left {
		t.Errorf("%s is not a method", procedure)
	}
}

// deadlines records what a handler does to the read deadline.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

func TestBodyHasADeadlineUntilItHasArrived(t *testing.T) {
	w := &deadlines{ResponseWriter: httptest.NewRecorder()}
	read := func(w http.ResponseWriter, r *http.Request) {
		d := w.(*deadlines)
		if len(d.set) != 1 || time.Until(d.set[0]) <= 0 || time.Until(d.set[0]) > bodyTimeout {
			t.Errorf("before the body: %v", d.set)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		if len(d.set) != 2 || !d.set[1].IsZero() {
			t.Errorf("after the body: %v", d.set)
		}
	}
	bounded(http.HandlerFunc(read)).ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader("x")))
}

func TestBodyIsLimited(t *testing.T) {
	var got int64
	var err error
	read := func(_ http.ResponseWriter, r *http.Request) { got, err = io.Copy(io.Discard, r.Body) }
	body := strings.NewReader(strings.Repeat("x", 10*MaxRequestBytes))
	bounded(http.HandlerFunc(read)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", body))
	if err == nil || got > MaxRequestBytes+1024 {
		t.Errorf("read %d bytes, %v", got, err)
	}
}
