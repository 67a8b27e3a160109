package mapping

import (
	"net/url"
	"strings"
	"testing"

	"firma/internal/intent"
)

// readings are what servers take for the value of a query's parameter: they differ on
// ";" as a separator, on "+", on the case of names, and on which of several counts.
func readings(query, name string) (values []string, absent bool) {
	note := func(found []string) {
		if len(found) == 0 {
			absent = true
			return
		}
		values = append(values, found[0], found[len(found)-1])
	}
	for _, separators := range []string{"&", "&;"} {
		for _, unescape := range []func(string) (string, error){url.QueryUnescape, url.PathUnescape} {
			for _, same := range []func(a, b string) bool{foldASCII, func(a, b string) bool { return a == b }} {
				var found []string
				for _, item := range strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
					k, v, _ := strings.Cut(item, "=")
					key, err1 := unescape(k)
					value, err2 := unescape(v)
					if err1 == nil && err2 == nil && same(key, name) {
						found = append(found, value)
					}
				}
				note(found)
			}
		}
	}
	if all, err := url.ParseQuery(query); err == nil {
		note(all[name])
	}
	return values, absent
}

func foldASCII(a, b string) bool { return asciiLower(a) == asciiLower(b) }

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

// FuzzQuery: a condition that fits fits to every server, and one that does not fits to
// none.
func FuzzQuery(f *testing.F) {
	for _, s := range []struct{ query, name, value string }{
		{"a=1&b=2", "a", "1"}, {"a=1;b=2", "b", "2"}, {"A=1&a=2", "a", "2"}, {"a=x+y", "a", "x y"}, {"a+b=1", "a+b", "1"}, {"a+b=1", "a b", "1"}, {"a=%2b", "a", "+"}, {"a", "a", ""}, {"%61=%31", "a", "1"}, {"a=1&a=1", "a", "1"}, {"&&;a=1=2", "a", "1=2"}, {"\u212a=1", "k", "1"},
	} {
		f.Add(s.query, s.name, s.value)
	}
	f.Fuzz(func(t *testing.T, query, name, value string) {
		c, err := intent.FromOrigin(intent.HTTPS, "GET", "a.test", "/?"+query)
		if err != nil || name == "" {
			return
		}
		got := fitQuery([]pair{{name, value}}, c.RawQuery)
		values, absent := readings(c.RawQuery, name)
		for _, v := range values {
			if got == yes && v != value || got == no && v == value {
				t.Fatalf("%q: %s=%q is %v, and a server reads %q", c.RawQuery, name, value, got, v)
			}
		}
		if got == yes && absent {
			t.Fatalf("%q: %s=%q fits, and a server reads nothing", c.RawQuery, name, value)
		}
	})
}
