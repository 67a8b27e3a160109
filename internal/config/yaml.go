package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readYAML reads the plain part of YAML: one document of mappings, sequences and
// scalars. Anchors, aliases, merges and tags say less in a configuration than
// they can hide, so they are refused.
func readYAML(data []byte, p *problems) *node {
	if tooDeep(data) {
		p.add(place{}, "the file is nested more than %d levels deep", maxDepth)
		return nil
	}
	file, err := parseYAML(data)
	if err != nil {
		p.yamlError(err)
		return nil
	}
	if len(file.Docs) > 1 {
		p.add(place{}, "the file holds %d YAML documents; write one", len(file.Docs))
		return nil
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return &node{kind: table, table: map[string]*node{}}
	}
	return p.yamlNode(file.Docs[0].Body)
}

// maxDepth is far more than the format needs. The parser's cost grows with the
// square of it.
const maxDepth = 100

// tooDeep counts brackets, and dashes on one line, wherever they stand: a file that
// holds that many in a string is none of ours.
func tooDeep(data []byte) bool {
	depth, dashes := 0, 0
	for i, b := range data {
		switch {
		case b == '[' || b == '{':
			depth++
		case b == ']' || b == '}':
			depth = max(depth-1, 0)
		case b == '\n':
			dashes = 0
		case b == '-' && i+1 < len(data) && data[i+1] == ' ':
			dashes++
		}
		if depth > maxDepth || dashes > maxDepth {
			return true
		}
	}
	return false
}

// parseYAML makes a panic of the parser, which input must not cause, an error.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the YAML can't be read: %v", r)
		}
	}()
	return parser.ParseBytes(data, 0)
}

func (p *problems) yamlError(err error) {
	var located interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if errors.As(err, &located) {
		p.add(yamlPlace(located.GetToken()), "%s", located.GetMessage())
		return
	}
	p.add(place{}, "%s", err.Error())
}

func yamlPlace(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

func (p *problems) yamlNode(n ast.Node) *node {
	at := yamlPlace(n.GetToken())
	switch n := n.(type) {
	case *ast.MappingNode:
		return p.yamlTable(at, n.Values)
	case *ast.MappingValueNode:
		return p.yamlTable(at, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out := &node{at: at, kind: list, list: []*node{}}
		for _, v := range n.Values {
			out.list = append(out.list, p.yamlNode(v))
		}
		return out
	case *ast.StringNode:
		return &node{at: at, value: n.Value}
	case *ast.LiteralNode:
		return &node{at: at, value: n.Value.Value}
	case *ast.BoolNode:
		return &node{at: at, value: n.Value}
	case *ast.FloatNode:
		return &node{at: at, value: n.Value}
	case *ast.NullNode:
		return &node{at: at}
	case *ast.IntegerNode:
		return p.yamlInteger(at, n.Value)
	}
	p.add(at, "%s is not used in a configuration: write the value itself", n.Type())
	return &node{at: at}
}

func (p *problems) yamlInteger(at place, v any) *node {
	switch v := v.(type) {
	case int64:
		return &node{at: at, value: v}
	case uint64:
		if v < 1<<63 {
			return &node{at: at, value: int64(v)}
		}
	}
	p.add(at, "the number is too large")
	return &node{at: at}
}

func (p *problems) yamlTable(at place, values []*ast.MappingValueNode) *node {
	out := &node{at: at, kind: table, table: make(map[string]*node, len(values))}
	for _, kv := range values {
		at := yamlPlace(kv.Key.GetToken())
		key, ok := kv.Key.(ast.ScalarNode)
		switch kv.Key.(type) {
		case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode, *ast.NullNode:
			ok = false
		}
		if !ok || kv.Key.IsMergeKey() {
			p.add(at, "a key must be a plain name")
			continue
		}
		name := fmt.Sprint(key.GetValue())
		if _, twice := out.table[name]; twice {
			p.add(at, "%s is set twice", name)
			continue
		}
		child := p.yamlNode(kv.Value)
		child.at = at
		out.table[name] = child
	}
	return out
}
