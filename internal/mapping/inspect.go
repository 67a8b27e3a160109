package mapping

import "strings"

// Inspectable returns the hosts whose calls the rules tell apart by more than the
// host, as interception names hosts: a host, "*", or "*.example.com" for
// everything below example.com. Ports are left out. A tunnel would hide what those
// rules are about.
func Inspectable(rules []Rule) []string {
	seen := map[string]bool{}
	var out []string
	for _, r := range rules {
		c, ferr := compile(r)
		if ferr != nil || c.Method == "CONNECT" || c.Method == "" && c.path.everything() && len(c.pairs) == 0 {
			continue
		}
		host := c.host.name
		switch c.host.kind {
		case oneLabel, anyDepth:
			if host = "*." + host; strings.Count(host, ".") < 2 {
				host = "*" // interception knows no wildcard in front of one label
			}
		case everyHost:
			host = "*"
		}
		if !seen[host] {
			seen[host] = true
			out = append(out, host)
		}
	}
	return out
}
