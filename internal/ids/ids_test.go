package ids_test

import (
	"regexp"
	"testing"

	"firma/internal/ids"
)

func TestNewIsValid(t *testing.T) {
	for _, prefix := range []string{ids.Agent, ids.Token, ids.Sandbox, ids.Event, ids.Sidecar} {
		if s := ids.New(prefix); !ids.Valid(prefix, s) || ids.Valid("x", s) || ids.Valid(prefix, s+"0") || ids.Valid(prefix, s[:len(s)-1]) {
			t.Errorf("%s", s)
		}
	}
}

// FuzzValid: an identifier is what the specification of TypeIDs says, and with it a path
// can be built.
func FuzzValid(f *testing.F) {
	f.Add(ids.New(ids.Sandbox))
	f.Add("sbx_8zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("sbx_0000000000000000000000000/")
	f.Add("sbx_0000000000000000000000000i")
	form := regexp.MustCompile(`\Asbx_[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}\z`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := ids.Valid(ids.Sandbox, s); got != form.MatchString(s) {
			t.Errorf("%q: %v", s, got)
		}
	})
}
