package policy

import (
	"encoding/binary"
	"sync"
)

const (
	maxMemo    = 1024 // answers; then it begins anew
	maxMemoKey = 512  // bytes; longer questions are not remembered
	maxNamed   = 64   // policies; an answer that names more is not remembered
)

// passing are the values of the context that differ from call to call. Where a
// policy reads one of them, remembering is of no use.
var passing = contextBit("action_count") | contextBit("deny_count") | contextBit("last_resource") |
	contextBit("session_duration_s") | contextBit("timestamp_ms")

// memo remembers the answers of one bundle. An answer depends on nothing but the
// values that the policies can read (needs), and these are the key. It is bounded,
// safe for concurrent use, and gone with its bundle.
type memo struct {
	mu      sync.RWMutex
	answers map[string]Result
}

func (m *memo) get(key []byte) (Result, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	res, ok := m.answers[string(key)]
	return res, ok
}

func (m *memo) put(key []byte, res Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers == nil || len(m.answers) >= maxMemo {
		m.answers = map[string]Result{}
	}
	m.answers[string(key)] = res
}

// question is the scratch space of one key.
type question struct {
	request Request // a copy: a pointer would move the caller's to the heap
	key     []byte
}

var questions = sync.Pool{New: func() any { return &question{key: make([]byte, 0, maxMemoKey)} }}

// remembered is decide, or its answer to the same question before.
func (b *Bundle) remembered(r *Request, t *target) Result {
	if t.reads.context&passing != 0 {
		return b.decide(r, t)
	}
	q := questions.Get().(*question)
	defer q.release()
	q.request = *r
	q.ask(t.reads.context)
	if len(q.key) > maxMemoKey {
		return b.decide(r, t)
	}
	res, ok := b.memo.get(q.key)
	if !ok {
		if res = b.decide(r, t); len(res.Policies)+len(res.Errors) <= maxNamed {
			b.memo.put(q.key, res)
		}
	}
	return res
}

// ask writes down everything that the answer depends on, so that no two questions
// have one key.
func (q *question) ask(context uint32) {
	r, key := &q.request, q.key[:0]
	for _, s := range [...]string{string(r.Class), r.AgentID, r.ResourceID, r.Host, r.Path, r.Method} {
		key = appendText(key, s)
	}
	for i := range contextFields {
		f := &contextFields[i]
		switch {
		case context&(1<<i) == 0:
		case f.text != nil:
			if s, bound := f.text(&r.Context); bound {
				key = appendText(append(key, 1), s)
			} else {
				key = append(key, 0)
			}
		case f.set != nil:
			items := f.set(&r.Context)
			key = binary.AppendUvarint(key, uint64(len(items)))
			for _, s := range items {
				key = appendText(key, s)
			}
		default:
			key = binary.AppendVarint(key, f.long(&r.Context))
		}
	}
	q.key = key
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

// release returns q to the pool without anything of the request.
func (q *question) release() {
	q.request = Request{}
	if cap(q.key) <= 64<<10 {
		questions.Put(q)
	}
}
