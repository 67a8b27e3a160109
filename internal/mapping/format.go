package mapping

import (
	"fmt"
	"strings"
)

// Format writes rules as a rules file that Parse reads back without warnings
// other than those for host "*". Source and Grant are not part of the format. The
// rules must be ones that NewTable accepts.
func Format(rules []Rule) []byte {
	var b strings.Builder
	b.WriteString("version = 2\n")
	for _, r := range rules {
		b.WriteString("\n[[rules]]\n")
		line(&b, "method", r.Method)
		line(&b, "host", r.Host)
		line(&b, "path", r.Path)
		for i, p := range sortedPairs(r.Query) {
			b.WriteString([]string{"query = { ", ", "}[min(i, 1)] + quote(p.name) + " = " + quote(p.value))
		}
		if len(r.Query) > 0 {
			b.WriteString(" }\n")
		}
		for i, word := range r.TunnelAccepts {
			b.WriteString([]string{"tunnel_accepts = [", ", "}[min(i, 1)] + quote(word))
		}
		if len(r.TunnelAccepts) > 0 {
			b.WriteString("]\n")
		}
		line(&b, "action_class", string(r.ActionClass))
	}
	return []byte(b.String())
}

func line(b *strings.Builder, key, value string) {
	if value != "" {
		b.WriteString(key + " = " + quote(value) + "\n")
	}
}

// quote writes a basic string of TOML 1.0.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}
