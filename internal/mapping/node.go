package mapping

// node is a place in the tree of the paths of one host pattern: one level for
// each segment.
type node struct {
	literal map[string]*node
	any     *node
	here    []*rule // paths that end here
	below   []*rule // paths that end in "**" here: this path and everything below
}

func (n *node) insert(r *rule) {
	for _, s := range r.path.segs {
		n = n.child(s)
	}
	if r.path.rest {
		n.below = append(n.below, r)
	} else {
		n.here = append(n.here, r)
	}
}

func (n *node) child(s segment) *node {
	if s.any {
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	c := n.literal[s.text]
	if c == nil {
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		c = &node{}
		n.literal[s.text] = c
	}
	return c
}

// find offers f every rule whose path matches. path is what is left of a
// canonical path: "", or a slash and more. One trailing slash makes no
// difference.
func (n *node) find(path string, f *finder) {
	f.offer(n.below)
	if len(path) <= 1 {
		f.offer(n.here)
		return
	}
	seg, rest := cutSegment(path)
	if c := n.literal[decode(seg)]; c != nil {
		c.find(rest, f)
	}
	if n.any != nil {
		n.any.find(rest, f)
	}
}

// cutSegment splits "/a/b" into "a" and "/b".
func cutSegment(path string) (seg, rest string) {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			return path[1:i], path[i:]
		}
	}
	return path[1:], ""
}

// overlapping calls visit for every rule whose path shares a path with p.
func (n *node) overlapping(p pathPattern, visit func(*rule)) {
	visitAll(n.below, visit)
	if len(p.segs) == 0 {
		visitAll(n.here, visit)
		if p.rest {
			n.descend(func(c *node) { c.overlapping(p, visit) })
		}
		return
	}
	s := p.segs[0]
	p.segs = p.segs[1:]
	if s.any {
		n.descend(func(c *node) { c.overlapping(p, visit) })
		return
	}
	if c := n.literal[s.text]; c != nil {
		c.overlapping(p, visit)
	}
	if n.any != nil {
		n.any.overlapping(p, visit)
	}
}

func (n *node) descend(visit func(*node)) {
	for _, c := range n.literal {
		visit(c)
	}
	if n.any != nil {
		visit(n.any)
	}
}

func visitAll(rules []*rule, visit func(*rule)) {
	for _, r := range rules {
		visit(r)
	}
}
