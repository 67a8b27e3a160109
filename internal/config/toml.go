package config

import (
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// readTOML reads values with the decoder, which knows all of TOML's rules, and
// then the place of each key with the parser.
func readTOML(data []byte, p *problems) *node {
	var values map[string]any
	if err := toml.Unmarshal(data, &values); err != nil {
		var at place
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			at.line, at.column = bad.Position()
		}
		p.add(at, "%s", strings.TrimPrefix(err.Error(), "toml: "))
		return nil
	}
	root := fromAny(values)
	locate(root, data)
	return root
}

func fromAny(v any) *node {
	switch v := v.(type) {
	case map[string]any:
		n := &node{kind: table, table: make(map[string]*node, len(v))}
		for k, val := range v {
			n.table[k] = fromAny(val)
		}
		return n
	case []any:
		n := &node{kind: list, list: make([]*node, len(v))}
		for i, val := range v {
			n.list[i] = fromAny(val)
		}
		return n
	}
	return &node{value: v}
}

// locate gives nodes their places. The document is valid, so what does not fit
// the values is not there.
func locate(root *node, data []byte) {
	var t unstable.Parser
	t.Reset(data)
	current := root
	seen := map[*node]int{} // how many [[tables]] of a list have begun
	for t.NextExpression() {
		switch e := t.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			current = header(&t, root, e, seen)
		case unstable.KeyValue:
			keyValue(&t, current, e)
		}
	}
}

// header descends to the table that [a.b] or [[a.b]] opens.
func header(t *unstable.Parser, n *node, e *unstable.Node, seen map[*node]int) *node {
	for it := e.Key(); n != nil && it.Next(); {
		child := step(t, n, it.Node())
		if child != nil && child.kind == list && len(child.list) > 0 {
			if e.Kind == unstable.ArrayTable && it.IsLast() {
				seen[child]++
			}
			item := child.list[min(max(seen[child], 1), len(child.list))-1]
			item.at = child.at
			if at := placeOf(t, it.Node()); at.line > 0 {
				item.at = at
			}
			child = item
		}
		n = child
	}
	return n
}

// step is the child of n that key names; its place is the key's first one.
func step(t *unstable.Parser, n *node, key *unstable.Node) *node {
	child := n.table[string(key.Data)]
	if child != nil && child.at.line == 0 {
		child.at = placeOf(t, key)
	}
	return child
}

func placeOf(t *unstable.Parser, n *unstable.Node) place {
	if n.Raw.Length == 0 {
		return place{}
	}
	start := t.Shape(n.Raw).Start
	return place{start.Line, start.Column}
}

func keyValue(t *unstable.Parser, n *node, e *unstable.Node) {
	for it := e.Key(); n != nil && it.Next(); {
		n = step(t, n, it.Node())
	}
	if n != nil {
		inner(t, n, e.Value())
	}
}

// inner locates what lies in an inline table or an array.
func inner(t *unstable.Parser, n *node, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			keyValue(t, n, it.Node())
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next() && i < len(n.list); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			item := n.list[i]
			item.at = n.at
			if at := placeOf(t, it.Node()); at.line > 0 {
				item.at = at
			}
			inner(t, item, it.Node())
			i++
		}
	}
}
