package mapping_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLiterals: connections to these addresses are captured, so one too many is a
// way out that nobody asked for, and each is in its one form.
func TestLiterals(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		want []string
	}{
		{"names only", rules("GET a.test/x code.read", "any *.b.test code.read", "any 1.2.3.4.test code.read"), nil},
		{"one label", rules("any * code.read"), nil},
		{"an address", rules("GET 203.0.113.7/x code.read"), []string{"203.0.113.7"}},
		{"once, for whatever port and method", rules("CONNECT 203.0.113.7:22 code.read", "CONNECT 203.0.113.7:23 code.write", "GET 203.0.113.7/x code.read"), []string{"203.0.113.7"}},
		{"IPv6", rules("any [2001:DB8::7]:443 code.read", "any [2001:db8:0::8] code.read"), []string{"2001:db8::7", "2001:db8::8"}},
		{"both, among names", rules("any a.test code.read", "any 198.51.100.1 code.read", "any [2001:db8::7] code.read"), []string{"198.51.100.1", "2001:db8::7"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := load(t, tt.file).Literals()
			slices.SortFunc(found, netip.Addr.Compare)
			var got []string
			for _, a := range found {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
