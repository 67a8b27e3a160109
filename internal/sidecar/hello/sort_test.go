package hello

import "testing"

func TestSortOf(t *testing.T) {
	for in, want := range map[string]Sort{
		"":                             Unclear,
		"\x16":                         Unclear,
		"\x16\x03":                     TLS,
		"\x16\x00\x00\x00\x10":         Unclear,
		"\x16\x04\x00\x00\x10\x01":     Nearly,
		"\x16\x00\x00\x00\x10\x01":     Nearly,
		"\x16\x0f\xff\x40\x00\x01":     Nearly,
		"\x16\x10":                     Foreign,
		"\x16\x01\x00\x00\x10\x00":     Foreign,
		"\x15":                         Unclear,
		"\x15\x03\x01\x00\x02\x01":     Nearly,
		"\x15\x07\x00\x00\x02\x02\x00": Nearly,
		"\x15\x03\x01\x00\x02\x00":     Foreign,
		"\x15\x03\x01\x00\x03":         Foreign,
		"\x15\x03\x01\x01":             Foreign,
		"\x80\x2e\x01":                 Unclear,
		"\x80\x2e\x01\x03":             Nearly,
		"\x81\x00\x01\x03":             Nearly,
		"\x80\x2e\x02":                 Foreign,
		"\x82\x2e\x01\x03":             Foreign,
		"\xff\xfd\x01\x03":             Foreign,
		"\x14\x03\x03\x00\x01\x01":     Foreign,
		"\x17\x03\x03\x00\x01\x01":     Foreign,
		"GET / HTTP/1.1":               Foreign,
		"SSH-2.0-x":                    Foreign,
		"\x05\x01\x00":                 Foreign,
		"\x00\x00\x00\x08\x04\xd2":     Foreign,
	} {
		if got := SortOf([]byte(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// FuzzSortOf: what is known of a stream stays so as more of it comes, and is known
// by the sixth byte; what is read as a hello is TLS.
func FuzzSortOf(f *testing.F) {
	for _, s := range []string{"\x16\x03\x01", "\x16\x04\x00\x00\x10\x01", "\x15\x03\x01\x00\x02\x01", "\x80\x2e\x01\x03\x01", "GET /"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		known := Unclear
		for n := range len(b) + 1 {
			s := SortOf(b[:n])
			if known != Unclear && s != known || n == 6 && s == Unclear {
				t.Fatalf("%q: %d after %d bytes, %d before", b, s, n, known)
			}
			known = s
		}
		if _, more, err := Read(b); err == nil && !more && known != TLS {
			t.Fatalf("%q is a hello, and of sort %d", b, known)
		}
	})
}
