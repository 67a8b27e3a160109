// Package witness remembers the newest checkpoint of each audit log, so that a
// log which was cut short or rewritten later is found out. It compares sizes and
// roots; whether the checkpoint's signature is good is for `firma audit verify`.
package witness

import (
	"bytes"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"
)

// The limits of a checkpoint, and of how many logs one witness follows.
const (
	maxOriginBytes     = 256
	maxCheckpointBytes = 8 << 10
	maxOrigins         = 10_000
	rootBytes          = 32
)

// Checkpoint is the head of one log. Text is the signed form, kept unread.
type Checkpoint struct {
	Origin string    `json:"origin"`
	Size   uint64    `json:"size"`
	Root   []byte    `json:"root"`
	Text   string    `json:"checkpoint"`
	Seen   time.Time `json:"seen"`
}

// Conflict is a checkpoint that contradicts an earlier one: the log has been cut
// short or rewritten. Held is what the witness keeps.
type Conflict struct {
	Why  string
	Held Checkpoint
}

func (c *Conflict) Error() string {
	return fmt.Sprintf("%s: this witness holds size %d, root %x, of %s", c.Why, c.Held.Size, c.Held.Root,
		c.Held.Seen.UTC().Format(time.RFC3339))
}

// Malformed is a checkpoint no log could have.
type Malformed struct{ Why string }

func (m *Malformed) Error() string { return "malformed checkpoint: " + m.Why }

// Witness is safe for concurrent use.
type Witness struct {
	mu   sync.Mutex
	held map[string]Checkpoint
	file *file // nil: memory only
	now  func() time.Time
}

// Open returns a witness that keeps its memory in the file at path, or in this
// process only when path is "". A file that cannot be understood is an error:
// forgetting would hide a rewritten log.
func Open(path string, now func() time.Time) (*Witness, error) {
	w := &Witness{held: map[string]Checkpoint{}, now: now}
	if path == "" {
		return w, nil
	}
	f, held, err := openFile(path)
	if err != nil {
		return nil, err
	}
	w.file, w.held = f, held
	return w, nil
}

// Close releases the file.
func (w *Witness) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	return w.file.close()
}

// Submit records c and returns what the witness now holds for its origin; Seen
// is set here. The error is *Malformed, *Conflict, or that of the file, in which
// case nothing was recorded. Root and Text are copied.
func (w *Witness) Submit(c Checkpoint) (Checkpoint, error) {
	if err := c.check(); err != nil {
		return Checkpoint{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old, known := w.held[c.Origin]
	switch {
	case !known && len(w.held) >= maxOrigins:
		return Checkpoint{}, fmt.Errorf("this witness follows %d logs and takes no more", maxOrigins)
	case known && c.Size < old.Size:
		return Checkpoint{}, &Conflict{fmt.Sprintf("the log shrank to size %d", c.Size), old}
	case known && c.Size == old.Size && !bytes.Equal(c.Root, old.Root):
		return Checkpoint{}, &Conflict{"the log has another root at the same size", old}
	case known && c.Size == old.Size:
		return old, nil
	}
	return w.record(c)
}

func (w *Witness) record(c Checkpoint) (Checkpoint, error) {
	c.Root, c.Seen = bytes.Clone(c.Root), w.now().UTC().Truncate(time.Millisecond)
	if w.file != nil {
		if err := w.file.append(c); err != nil {
			return Checkpoint{}, err
		}
	}
	w.held[c.Origin] = c
	if w.file != nil && w.file.size > w.file.limit {
		w.file.rewrite(w.held)
	}
	return c, nil
}

// Held returns the newest checkpoint of a log, and false for an unknown one.
func (w *Witness) Held(origin string) (Checkpoint, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.held[origin]
	return c, ok
}

func (c *Checkpoint) check() error {
	switch {
	case c.Origin == "" || len(c.Origin) > maxOriginBytes || !utf8.ValidString(c.Origin):
		return &Malformed{fmt.Sprintf("origin must be 1 to %d bytes of UTF-8", maxOriginBytes)}
	case len(c.Root) != rootBytes:
		return &Malformed{fmt.Sprintf("root_hash must be %d bytes", rootBytes)}
	case len(c.Text) > maxCheckpointBytes || !utf8.ValidString(c.Text):
		return &Malformed{fmt.Sprintf("checkpoint must be at most %d bytes of UTF-8", maxCheckpointBytes)}
	}
	return nil
}
