package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firma/internal/fault"
	"firma/internal/wire"
)

func TestVersion(t *testing.T) {
	// sha256sum < /dev/null, and of "abc".
	for text, want := range map[string]string{"": "e3b0c442", "abc": "ba7816bf"} {
		if got := Version([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	const a, b = "permit (principal, action, resource);\n", "forbid (principal, action, resource);\n"
	const inA, inB = "// file: a.cedar\n", "// file: b.cedar\n"
	tests := map[string]struct {
		files map[string]string
		want  string // "" is an error
	}{
		"sorted":            {map[string]string{"b.cedar": b, "a.cedar": a}, inA + a + inB + b},
		"others ignored":    {map[string]string{"a.cedar": a, "x.cedarschema": "x", "README.md": "x", "a.cedar~": b, "sub/b.cedar": b}, inA + a},
		"unterminated line": {map[string]string{"a.cedar": a + "// end", "b.cedar": b}, inA + a + "// end\n" + inB + b},
		"empty file":        {map[string]string{"a.cedar": "", "b.cedar": b}, inB + b},
		"none":              {map[string]string{"a.txt": a}, ""},
		"only empty":        {map[string]string{"a.cedar": ""}, ""},
		"too large":         {map[string]string{"a.cedar": strings.Repeat("\n", wire.MaxBundleBytes+1)}, ""},
		"too large in sum":  {map[string]string{"a.cedar": strings.Repeat("\n", wire.MaxBundleBytes), "b.cedar": b}, ""},
	}
	for name, tt := range tests {
		dir := t.TempDir()
		for file, text := range tt.files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Read(dir)
		if string(got) != tt.want || (tt.want == "") != (fault.NameOf(err) == faultName) {
			t.Errorf("%s: %.100q, %v", name, got, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); fault.NameOf(err) != faultName {
		t.Errorf("missing directory: %v", err)
	}
}

// A policy that cannot be read must not be left out: it may be the forbid.
func TestReadFailsOnAFileItCannotRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.cedar"), []byte("permit (principal, action, resource);"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "gone"), filepath.Join(dir, "b.cedar")); err != nil {
		t.Skip("needs symbolic links")
	}
	if text, err := Read(dir); err == nil {
		t.Errorf("read %q", text)
	}
}

func TestNewValidates(t *testing.T) {
	good := []byte("permit (principal, action, resource);")
	b, compiled, err := New("x", good, nil, 30*time.Second, time.Unix(1, 0))
	if err != nil || compiled == nil || b.Version != Version(good) || b.TTL != 30*time.Second || !b.Loaded.Equal(time.Unix(1, 0)) {
		t.Fatalf("%+v %v", b, err)
	}
	for name, tt := range map[string]struct{ text, schema string }{
		"syntax": {"permit", ""},
		"action": {`permit (principal, action == Firma::Action::"no", resource);`, ""},
		"schema": {string(good), "entity"},
		"large":  {strings.Repeat("\n", wire.MaxBundleBytes+1), ""},
	} {
		var schema []byte
		if tt.schema != "" {
			schema = []byte(tt.schema)
		}
		b, compiled, err := New("where.cedar", []byte(tt.text), schema, time.Second, time.Now())
		if b != nil && err != nil || compiled != nil || fault.NameOf(err) != faultName || !strings.Contains(err.Error(), "where.cedar") {
			t.Errorf("%s: %v %v", name, b, err)
		}
	}
}

func TestSource(t *testing.T) {
	first, second := &Bundle{Version: "1"}, &Bundle{Version: "2"}
	s := NewSource(first)
	got, changed := s.Current()
	select {
	case <-changed:
		t.Fatal("changed before Set")
	default:
	}
	s.Set(second)
	<-changed
	again, changed := s.Current()
	if got != first || again != second {
		t.Errorf("%v, then %v", got, again)
	}
	select {
	case <-changed:
		t.Error("the new channel is closed already")
	default:
	}
}
