package intent

import "strings"

// Resource returns what a call acts on: HostKey and path, "host/" for a tunnel.
// It is the resource of the audit log and of policies, and holds no query, so
// that adding one cannot slip past a policy that names the resource.
func (c *Call) Resource() string {
	if c.Path == "" {
		return c.HostKey() + "/"
	}
	return c.HostKey() + c.Path
}

// AuditResource returns Resource and, when there is a query, "?" and the query
// with the values of sensitive parameters masked. extra names parameters that are
// sensitive beyond the contract's list, in any case.
func (c *Call) AuditResource(extra ...string) string {
	if c.RawQuery == "" {
		return c.Resource()
	}
	return c.Resource() + "?" + maskQuery(c.RawQuery, extra)
}

// mask replaces a sensitive value.
const mask = "REDACTED"

// maskQuery works on a canonical query. Servers that split at ";" see more
// parameters than those that split at "&", so both split here.
func maskQuery(q string, extra []string) string {
	var b strings.Builder
	for start := 0; start < len(q); {
		end := len(q)
		if i := strings.IndexAny(q[start:], "&;"); i >= 0 {
			end = start + i
		}
		maskPair(&b, q[start:end], extra)
		if end < len(q) {
			b.WriteByte(q[end])
		}
		start = end + 1
	}
	return b.String()
}

func maskPair(b *strings.Builder, pair string, extra []string) {
	key, value, found := strings.Cut(pair, "=")
	b.WriteString(key)
	switch {
	case !found:
	case value != "" && isSensitive(key, extra):
		b.WriteString("=" + mask)
	default:
		b.WriteString("=" + value)
	}
}

// isSensitive compares a parameter's name with the contract's list. A name whose
// last word is on the list counts too ("x-amz-signature", "client_secret").
func isSensitive(key string, extra []string) bool {
	name := plainKey(key)
	for _, s := range sensitive {
		if name == s || strings.HasSuffix(name, "_"+s) || name == strings.ReplaceAll(s, "_", "") {
			return true
		}
	}
	for _, s := range extra {
		if name == plainKey(s) {
			return true
		}
	}
	return false
}

var sensitive = [...]string{"api_key", "apikey", "key", "token", "access_token",
	"refresh_token", "auth", "password", "secret", "signature", "sig", "sas"}

// plainKey decodes a key and folds its case and its word separators.
func plainKey(key string) string {
	b := make([]byte, 0, len(key))
	for i := 0; i < len(key); {
		c, n, err := nextByte(key[i:])
		if err != nil {
			c, n = key[i], 1
		}
		if c == '-' || c == '.' || c == '+' || c == ' ' {
			c = '_'
		}
		b = append(b, lowerByte(c))
		i += n
	}
	return strings.Trim(string(b), "_[]")
}
