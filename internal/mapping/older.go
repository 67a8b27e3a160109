package mapping

import "strings"

// olderReading prepares a rule of a file that does not say "version = 2". There,
// "*" in a path crossed slashes, a trailing "*" could follow text, and "*." in a
// host stood for any depth. What can be said in today's reading is rewritten, and
// a warning shows what changes. It reports whether the path was rewritten.
func (p *parser) olderReading(d *draft) bool {
	if p.version == 2 {
		return false
	}
	p.olderHost(d)
	older := d.rule.Path
	if older == "" || !strings.Contains(older, "*") || strings.Contains(older, "**") {
		return false
	}
	if path := rewrite(older); path != older {
		d.rule.Path = path
		p.warn(d, "path", "path %q is read as %q: \"*\" is now a whole segment, and a last \"**\" is this path and everything below; say version = 2 and write it so", older, path)
		return true
	}
	p.warn(d, "path", "path %q: each \"*\" is now exactly one segment, where the older reading crossed slashes; write a last \"**\" for everything below, and say version = 2", older)
	return false
}

func (p *parser) olderHost(d *draft) {
	if strings.HasPrefix(d.rule.Host, "*.") {
		p.warn(d, "host", "host %q: \"*\" is now exactly one label, where the older reading took any number; write %q for that, and say version = 2", d.rule.Host, "*"+d.rule.Host)
	}
}

// rewrite gives the older spellings that have an exact or nearly exact successor:
// "*" for any path, a "*" glued to the last segment, and "*.git".
func rewrite(path string) string {
	if path == "*" {
		return "/**"
	}
	segs := strings.Split(path, "/")
	for i, s := range segs {
		if s == "*.git" {
			segs[i] = "*"
		}
	}
	last := segs[len(segs)-1]
	if text := strings.TrimSuffix(last, "*"); text != last && text != "" {
		segs[len(segs)-1] = text
		segs = append(segs, "**")
	}
	return strings.Join(segs, "/")
}
