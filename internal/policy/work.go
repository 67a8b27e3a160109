package policy

import (
	"iter"
	"slices"
	"sync"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// work is the state of one evaluation: the candidates, as the engine's
// PolicyIterator, and the entities, as its EntityGetter. It is pooled.
type work struct {
	bundle     *Bundle
	request    Request // a copy: a pointer would move the caller's to the heap
	target     *target
	candidates []*rule
	needs      needs
	context    types.Record

	resource    types.Entity // attributes are built when first asked for
	hasResource bool

	all     iter.Seq2[cedar.PolicyID, *cedar.Policy]
	scratch types.RecordMap
}

var works = sync.Pool{New: func() any {
	w := &work{scratch: types.RecordMap{}}
	w.all = w.each // bound once: All would allocate it for every evaluation
	return w
}}

func newWork(b *Bundle, r *Request, t *target) *work {
	w := works.Get().(*work)
	w.bundle, w.request, w.target = b, *r, t
	w.candidates = b.any.collect(w.candidates[:0], &w.request)
	w.candidates = t.bucket.collect(w.candidates, &w.request)
	for _, c := range w.candidates {
		w.needs = w.needs.union(c.needs)
	}
	w.context = w.request.Context.record(w.needs.context, w.scratch)
	clear(w.scratch)
	return w
}

// release returns w to the pool without anything of the request.
func (w *work) release() {
	clear(w.candidates)
	clear(w.scratch)
	*w = work{candidates: w.candidates[:0], all: w.all, scratch: w.scratch}
	if cap(w.candidates) <= 1024 { // a rare huge set must not stay in the pool
		works.Put(w)
	}
}

func (w *work) authorize() (cedar.Decision, cedar.Diagnostic) {
	return cedar.Authorize(w, w, cedar.Request{
		Principal: types.EntityUID{Type: agentType, ID: types.String(w.request.AgentID)},
		Action:    w.target.uid,
		Resource:  types.EntityUID{Type: resourceType, ID: types.String(w.request.ResourceID)},
		Context:   w.context,
	})
}

// permitsOnly drops the forbids from the candidates.
func (w *work) permitsOnly() {
	w.candidates = slices.DeleteFunc(w.candidates, func(r *rule) bool { return !r.permit })
}

// All implements cedar.PolicyIterator.
func (w *work) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] { return w.all }

func (w *work) each(yield func(cedar.PolicyID, *cedar.Policy) bool) {
	for _, r := range w.candidates {
		if !yield(r.id, r.policy) {
			return
		}
	}
}

// Get implements types.EntityGetter: the agent and the resource of the request,
// and the actions of the schema. No other entity exists.
func (w *work) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid.Type {
	case resourceType:
		return w.resourceEntity(uid)
	case agentType:
		return types.Entity{UID: uid}, string(uid.ID) == w.request.AgentID
	}
	e, ok := w.bundle.model.entities[uid]
	return e, ok
}

func (w *work) resourceEntity(uid types.EntityUID) (types.Entity, bool) {
	if string(uid.ID) != w.request.ResourceID {
		return types.Entity{}, false
	}
	if !w.hasResource {
		w.resource = types.Entity{UID: uid, Attributes: w.request.attributes(w.needs.resource, w.scratch)}
		w.hasResource = true
	}
	return w.resource, true
}
