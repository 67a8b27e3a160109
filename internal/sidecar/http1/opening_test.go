package http1

import "testing"

func TestOpeningLikeRequest(t *testing.T) {
	for in, want := range map[string]bool{
		"": false, "GET": false, "GET ": true, "GET\t/": true, "\r\n\n \tGET /x HTTP/1.1": true, "get /x": true, "!#$ x": true, " ": false,
		`{"a": 1}`: false, "a=b c": false, "--b\r\nContent-": false, "<a b>": false, "\x00\x00\x00\x00\x05": false, "GET\x00 /": false, "GET\r\n": false,
	} {
		for _, step := range []int{1, 3, 100} {
			var o Opening
			for p := []byte(in); len(p) > 0; p = p[min(step, len(p)):] {
				o.Add(p[:min(step, len(p))])
			}
			if o.LikeRequest() != want {
				t.Errorf("%q in pieces of %d: %v", in, step, !want)
			}
		}
	}
	var o Opening
	o.Add(make([]byte, 100))
	o.Add([]byte("GET / HTTP/1.1"))
	if o.LikeRequest() {
		t.Error("what comes later does not begin it")
	}
}
