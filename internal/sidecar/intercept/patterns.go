package intercept

import (
	"fmt"
	"strings"

	"firma/internal/intent"
)

// patterns are host patterns, indexed.
type patterns struct {
	every  bool
	exact  map[string]bool
	suffix map[string]bool // what stands behind "*."
}

func parsePatterns(list []string) (p patterns, err error) {
	p.exact, p.suffix = map[string]bool{}, map[string]bool{}
	for _, s := range list {
		if s == "*" {
			p.every = true
			continue
		}
		rest, below := strings.CutPrefix(s, "*.")
		host, addr, err := intent.CanonicalHost(rest)
		switch {
		case err != nil || below && addr.IsValid():
			return p, fmt.Errorf("intercept: %q is no host, no \"*\" and no \"*.example.com\"", s)
		case below:
			p.suffix[host] = true
		default:
			p.exact[host] = true
		}
	}
	return p, nil
}

func (p *patterns) match(host string) bool {
	if p.every || p.exact[host] {
		return true
	}
	if len(p.suffix) == 0 {
		return false
	}
	for rest, more := host, true; ; {
		if _, rest, more = strings.Cut(rest, "."); !more {
			return false
		}
		if p.suffix[rest] {
			return true
		}
	}
}
