package main

import (
	"strings"
	"testing"
)

func TestAgain(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"firma", "run", "--authority", "local", "--", "curl", "https://example.com"}, "--authority local -- curl https://example.com"},
		{[]string{"firma", "--log-filter", "debug", "run", "--", "true"}, "-- true"},
		{[]string{"firma", "run", "--", "sh", "-c", "echo 'it is' $x", ""}, `-- sh -c 'echo '\''it is'\'' $x' ''`},
		{[]string{"firma", "run", "--", "sh", "-c", "one\ntwo"}, ""},
		{[]string{"firma", "run", "--", "\x1b[31m"}, ""},
		{[]string{"firma", "run", "--", strings.Repeat("x", 200)}, ""},
		{[]string{"firma", "doctor"}, ""},
	} {
		if got := again(c.args); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}
