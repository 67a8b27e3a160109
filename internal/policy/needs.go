package policy

import (
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// needs says which values of a request a policy can read, so that Evaluate
// builds no others. A bit too many costs time; a bit too few would change the
// decision, so whatever is not understood needs everything.
type needs struct {
	context  uint32 // bit i: contextFields[i]
	resource uint8  // bit i: resourceFields[i]
}

const (
	allContext  = ^uint32(0)
	allResource = ^uint8(0)
)

func (n needs) union(m needs) needs {
	return needs{n.context | m.context, n.resource | m.resource}
}

func needsOf(p *ast.Policy) needs {
	var n needs
	for _, c := range p.Conditions {
		ast.Inspect(ast.NewNode(c.Body), n.visit)
	}
	return n
}

// visit is called for each node from the outside in. It stops at an attribute
// of a variable, so a variable it reaches itself is used as a whole.
func (n *needs) visit(node ast.IsNode) bool {
	switch t := node.(type) {
	case ast.NodeTypeAccess:
		return n.attribute(t.StrOpNode)
	case ast.NodeTypeHas:
		return n.attribute(t.StrOpNode)
	case ast.NodeTypeGetTag, ast.NodeTypeHasTag:
		n.resource = allResource
	case ast.NodeTypeVariable:
		// The whole resource is an entity id and carries no attributes; the
		// whole context carries all of them.
		if t.Name == "context" {
			n.context = allContext
		}
	}
	return true
}

// attribute notes node.Arg.Value or node.Arg has Value and reports whether the
// argument must be looked into.
func (n *needs) attribute(node ast.StrOpNode) bool {
	v, ok := node.Arg.(ast.NodeTypeVariable)
	if !ok {
		// The argument could be an entity that is the request's resource.
		n.resource = allResource
		return true
	}
	switch v.Name {
	case "context":
		n.context |= contextBit(string(node.Value))
	case "resource":
		n.resource |= resourceBit(string(node.Value))
	}
	return false
}
