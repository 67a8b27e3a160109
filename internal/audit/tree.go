package audit

import (
	"crypto/sha256"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of an RFC 6962 Merkle tree: the hashes of the perfect
// subtrees that n leaves make, which is all that appending and the root need.
// Copying it copies the tree; the zero tree is empty.
type tree struct {
	n    uint64
	edge [64]tlog.Hash // edge[i] is the subtree of 2^i leaves, if bit i of n is set
}

func (t *tree) add(leaf tlog.Hash) {
	i := 0
	for ; t.n>>i&1 == 1; i++ {
		leaf = tlog.NodeHash(t.edge[i], leaf)
	}
	t.edge[i] = leaf
	t.n++
}

// root returns the tree's root hash; SHA-256 of nothing when it is empty.
func (t *tree) root() tlog.Hash {
	if t.n == 0 {
		return sha256.Sum256(nil)
	}
	i := bits.TrailingZeros64(t.n)
	h := t.edge[i]
	for i++; i < 64; i++ {
		if t.n>>i&1 == 1 {
			h = tlog.NodeHash(t.edge[i], h)
		}
	}
	return h
}

// copyFrom makes t equal to o, copying only the hashes in use.
func (t *tree) copyFrom(o *tree) {
	t.n = o.n
	used := bits.Len64(o.n)
	copy(t.edge[:used], o.edge[:used])
}
