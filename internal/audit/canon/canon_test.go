package canon

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"
)

// oracle canonicalises v with an independent implementation of RFC 8785.
func oracle(t interface{ Fatal(...any) }, v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want, err := jcs.Transform(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(want)
}

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                  `""`,
		"plain /path?q=1&b": `"plain /path?q=1&b"`,
		"<\u2028\u0085>":    "\"<\u2028\u0085>\"",
		"\"\\\b\t\n\f\r":    `"\"\\\b\t\n\f\r"`,
		"\x00\x1f\x7f":      "\"\\u0000\\u001f\x7f\"",
		"é😀":                `"é😀"`,
		"a\xffb":            "\"a\ufffdb\"",
		"\xe2\x82":          "\"\ufffd\ufffd\"",
		"\xed\xa0\x80":      "\"\ufffd\ufffd\ufffd\"", // a surrogate, not UTF-8
		"\ufffd":            "\"\ufffd\"",
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a\"\\\n\x00", "é\xff", "\xed\xa0\x80😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(AppendString(nil, s))
		if want := oracle(t, s); got != want {
			t.Fatalf("AppendString(%q) = %q, want %q", s, got, want)
		}
		if !utf8.ValidString(got) {
			t.Fatalf("AppendString(%q) is not UTF-8", s)
		}
	})
}

// value draws any JSON value this package accepts.
func value(depth int) *rapid.Generator[any] {
	leaf := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.String().AsAny(),
		rapid.Int64Range(-MaxInt, MaxInt).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	inner := value(depth - 1)
	return rapid.OneOf(append(leaf, rapid.SliceOfN(inner, 0, 4).AsAny(), object(inner).AsAny())...)
}

func object(v *rapid.Generator[any]) *rapid.Generator[map[string]any] {
	key := rapid.StringOfN(rapid.RuneFrom([]rune("aZ\"\n\ue000\uffff😀𝄞é")), 0, 4, -1)
	return rapid.MapOfN(key, v, 0, 6)
}

func TestAppendObjectIsJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := object(value(3)).Draw(t, "object")
		raw, _ := json.MarshalIndent(m, "", "  ")
		got, err := AppendObject([]byte("x"), raw)
		if err != nil {
			t.Fatal(err)
		}
		if want := "x" + oracle(t, m); string(got) != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestAppendObjectRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "null", "[]", `"a"`, "1", "{", `{"a":1}x`, `{"a":1}{}`,
		`{"a":1.5}`, `{"a":1e3}`, `{"a":9007199254740992}`, `{"a":-9007199254740992}`, `{"a":[{"b":1.0}]}`,
	} {
		if got, err := AppendObject(nil, []byte(raw)); err == nil || len(got) != 0 {
			t.Errorf("AppendObject(%s) = %s, %v; want an error and nothing appended", raw, got, err)
		}
	}
}

// TestAppendStringsIsJCS: built from pairs, the same as from a map.
func TestAppendStringsIsJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a", "b", "", "\ue000", "😀"}))
		pairs := rapid.SliceOfN(key, 0, 24).Draw(t, "pairs")
		before := slices.Clone(pairs)
		got, want := string(AppendStrings([]byte("x"), pairs...)), "x"+oracle(t, lastOf(pairs))
		if got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if !slices.Equal(pairs, before) {
			t.Fatal("the pairs changed")
		}
	})
}

func lastOf(pairs []string) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// FuzzAppendObject: what is taken for canonical as it is comes out of the parser
// the same.
func FuzzAppendObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"b"}`, `{"a":"b","c":"d"}`, `{"c":"b","a":"d"}`, `{"a":"b","a":"d"}`, `{"a":"b"}x`, `{"a":"b",}`,
		`{"":""}`, `{"":"","":""}`, `{"a":"<"}`, `{"a":"\u0062"}`, `{"a" :"b"}`, `{"a":1}`, `{"a":"b"`, "{\"a\":\"\x7f\"}", "{\"a\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := AppendObject(nil, raw)
		want, wantErr := appendParsed(nil, raw)
		if (err == nil) != (wantErr == nil) || string(got) != string(want) {
			t.Fatalf("AppendObject(%q) = %q, %v; parsed %q, %v", raw, got, err, want, wantErr)
		}
	})
}
