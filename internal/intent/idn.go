package intent

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// lookup is the strict profile for looking names up (UTS #46, non-transitional).
// It is made on first use: most runs never meet a name beyond ASCII.
var lookup = sync.OnceValue(func() *idna.Profile {
	return idna.New(
		idna.MapForLookup(),
		idna.Transitional(false),
		idna.StrictDomainName(true),
		idna.CheckHyphens(true),
		idna.CheckJoiners(true),
		idna.BidiRule(),
	)
})

// maxUnicodeHost bounds the work on one name: a name of 253 bytes in ASCII is
// never longer than this in UTF-8 before mapping.
const maxUnicodeHost = 4 * maxHost

func idnaToASCII(s string) (string, error) {
	if len(s) > maxUnicodeHost || !utf8.ValidString(s) {
		return "", refuse("the host is too long or not UTF-8")
	}
	a, err := lookup().ToASCII(s)
	if err != nil {
		return "", refuse("the host is not a valid international name")
	}
	return strings.ToLower(a), nil
}

// checkPuny accepts an xn-- name only in the exact form that encoding its
// Unicode form gives, so that no two spellings reach one name. The profile refuses
// labels that decode to plain ASCII.
func checkPuny(host string) error {
	a, err := lookup().ToASCII(host)
	if err != nil || a != host {
		return refuse("the host has an invalid xn-- label")
	}
	return nil
}
