package verdict

// Accepts is what the first bytes of a tunnel may be, besides a TLS ClientHello
// that names the tunnel's own host. The zero value accepts nothing else.
type Accepts uint8

// What a rule can accept.
const (
	AcceptMissingSNI Accepts = 1 << iota // a ClientHello without a server name
	AcceptECH                            // one with an encrypted ClientHello inside
	AcceptNonTLS                         // on port 443: something other than TLS
	AcceptAnySNI                         // a ClientHello that names another host
)

var acceptsWords = []string{"missing_sni", "ech", "non_tls", "any_sni"}

// AcceptsWords are the words for the values, in their order.
func AcceptsWords() []string { return append([]string(nil), acceptsWords...) }

// ParseAccepts reads one word.
func ParseAccepts(word string) (Accepts, bool) {
	for i, w := range acceptsWords {
		if w == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// Has reports whether a holds what is asked for.
func (a Accepts) Has(what Accepts) bool { return a&what == what }
