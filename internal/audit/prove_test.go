package audit

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
)

func TestProveEveryEvent(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"checkpoints": nil,
		"events":      func(o *Options) { o.SignEvents = true },
		"Ed25519":     func(o *Options) { o.Key = edKey(t) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, set)
			for i := range f.log {
				id := eventAt(f.log, i).EventID
				p, err := Prove(f.o.Path, id)
				if err != nil {
					t.Fatal(err)
				}
				bySeq, err := Prove(f.o.Path, strconv.Itoa(i))
				if err != nil || !cmp.Equal(p, bySeq) {
					t.Errorf("proof by seq differs: %v", err)
				}
				text, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				var back Proof
				if err := json.Unmarshal(text, &back); err != nil {
					t.Fatal(err)
				}
				if err := CheckProof(back, f.o.Key.Public()); err != nil {
					t.Errorf("event %d: %v", i, err)
				}
				if !strings.Contains(back.Event, id) {
					t.Errorf("proof of %s is of %s", id, back.Event)
				}
			}
		})
	}
}

func TestBadProofs(t *testing.T) {
	f := newFixture(t, nil)
	good, err := Prove(f.o.Path, "7")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Prove(f.o.Path, "6")
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Proof){
		"event":  func(p *Proof) { p.Event = strings.Replace(p.Event, "DENY", "ALLOW", 1) },
		"spaced": func(p *Proof) { p.Event += " " },
		"signed": func(p *Proof) {
			p.Event = strings.Replace(p.Event, `,"thread_id"`, `,"signature":"AA==","thread_id"`, 1)
		},
		"other":     func(p *Proof) { p.Event, p.Seq, p.LeafHash = other.Event, other.Seq, other.LeafHash },
		"seq":       func(p *Proof) { p.Seq = 6 },
		"leaf":      func(p *Proof) { p.LeafHash = other.LeafHash },
		"schema":    func(p *Proof) { p.Schema = Schema },
		"short":     func(p *Proof) { p.Path = p.Path[1:] },
		"step":      func(p *Proof) { p.Path = append([]string{zeroHash}, p.Path[1:]...) },
		"not hex":   func(p *Proof) { p.Path = append([]string{"x"}, p.Path[1:]...) },
		"root":      func(p *Proof) { p.Checkpoint.Root[0] ^= 1 },
		"smaller":   func(p *Proof) { p.Checkpoint.Size = 7 },
		"signature": func(p *Proof) { p.Checkpoint.Signature = append([]byte{}, p.Checkpoint.Signature[1:]...) },
		"key":       func(p *Proof) { p.Checkpoint.KeyID = zeroHash },
		"empty":     func(p *Proof) { *p = Proof{} },
	} {
		p := good
		spoil(&p)
		if err := CheckProof(p, f.o.Key.Public()); fault.NameOf(err) != "AuditProofInvalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckProof(good, edKey(t).Public()); fault.NameOf(err) != "AuditProofInvalid" {
		t.Errorf("with another key: %v", err)
	}
}

func TestUnprovable(t *testing.T) {
	f := newFixture(t, nil)
	for name, c := range map[string]struct {
		edit  func(*files)
		event string
		fault string
	}{
		"unknown event":  {func(*files) {}, "aevt_none", "AuditUnprovable"},
		"not signed yet": {func(fs *files) { fs.checkpoints = join(f.checkpoints[:2]) }, "7", "AuditUnprovable"},
		"edited":         {func(fs *files) { fs.log = join(replaced(f.log, 3, "repos", "other")) }, "7", "AuditUnprovable"},
		"shortened":      {func(fs *files) { fs.log = join(f.log[:9]) }, "7", "AuditUnprovable"},
		"no checkpoints": {func(fs *files) { fs.checkpoints = []byte{} }, "7", "AuditUnprovable"},
		"file gone":      {func(fs *files) { fs.checkpoints = nil }, "7", "AuditLogUnreadable"},
	} {
		fs := f.files()
		c.edit(&fs)
		if _, err := Prove(f.store(t, fs).Path, c.event); fault.NameOf(err) != c.fault {
			t.Errorf("%s: %v, want %s", name, err, c.fault)
		}
	}
}

func TestVerifyDir(t *testing.T) {
	o := testOptions(t)
	dir := filepath.Dir(o.Path)
	for _, name := range []string{"a.jsonl", "b.jsonl", "c.jsonl", "d.log"} {
		o.Path = filepath.Join(dir, name)
		writeLog(t, o, 3)
	}
	remove(t, filepath.Join(dir, "b.jsonl"))
	remove(t, filepath.Join(dir, "c.jsonl"))
	remove(t, filepath.Join(dir, "c.jsonl.checkpoints"))
	put(t, filepath.Join(dir, "e.jsonl"), []byte("{}\n"))
	v := o.verify()
	v.Path = dir
	reports, err := VerifyDir(v)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range reports {
		got[filepath.Base(r.Path)] = r.Status
		for _, p := range r.Problems {
			got[filepath.Base(r.Path)] += " " + p.Kind
		}
	}
	want := map[string]string{
		"a.jsonl": "sealed", "b.jsonl": "tampered log_missing", "c.jsonl": "tampered log_missing", "d.log": "sealed",
		"e.jsonl": "tampered checkpoint_missing checkpoint_missing malformed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.RemoveAll(filepath.Join(dir, "checkpoints")); err != nil {
		t.Fatal(err)
	}
	v.Path = filepath.Join(dir, "nowhere")
	v.CheckpointDir = ""
	if _, err := VerifyDir(v); fault.NameOf(err) != "AuditLogUnreadable" {
		t.Errorf("a missing directory: %v", err)
	}
}

// A directory that is gone with all its logs shows by the checkpoints kept apart.
func TestVerifyDirGone(t *testing.T) {
	o := testOptions(t)
	o.CheckpointDir = filepath.Join(t.TempDir(), "pins")
	writeLog(t, o, 3)
	if err := os.RemoveAll(filepath.Dir(o.Path)); err != nil {
		t.Fatal(err)
	}
	v := o.verify()
	v.Path = filepath.Dir(o.Path)
	reports, err := VerifyDir(v)
	if err != nil || len(reports) != 1 || reports[0].Problems[0].Kind != ProblemLogMissing {
		t.Errorf("%+v, %v", reports, err)
	}
}

// A log that lies elsewhere is not missing from the directory that keeps its newest
// checkpoint, and still can't be removed or shortened unseen.
func TestKeptElsewhere(t *testing.T) {
	o, dir := testOptions(t), t.TempDir()
	o.CheckpointDir = KeepIn(dir, o.Path)
	writeLog(t, o, 3)
	inside := testOptions(t)
	inside.Path = filepath.Join(dir, "inside.jsonl")
	inside.CheckpointDir = KeepIn(dir, inside.Path)
	writeLog(t, inside, 3)

	v := inside.verify()
	v.Path = dir
	reports, err := VerifyDir(v)
	if err != nil || len(reports) != 1 || !reports[0].OK() {
		t.Errorf("%+v, %v", reports, err)
	}
	v = o.verify()
	v.CheckpointDir = KeptIn(dir, o.Path)
	if r, err := Verify(v); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	moved := filepath.Join(t.TempDir(), "inside.jsonl")
	for _, suffix := range []string{"", CheckpointsSuffix} {
		if err := os.Rename(inside.Path+suffix, moved+suffix); err != nil {
			t.Fatal(err)
		}
	}
	v = inside.verify()
	v.Path, v.CheckpointDir = moved, KeptIn(dir, moved)
	if r, err := Verify(v); err != nil || !r.OK() {
		t.Errorf("moved: %+v, %v", r, err)
	}
	if err := os.Remove(o.Path); err != nil {
		t.Fatal(err)
	}
	v = o.verify()
	v.CheckpointDir = KeptIn(dir, o.Path)
	if r, err := Verify(v); err != nil || r.Problems[0].Kind != ProblemLogMissing {
		t.Errorf("removed: %+v, %v", r, err)
	}
}

// FuzzProof: whatever a proof says, it proves an event of the log as it is there, or
// nothing.
func FuzzProof(f *testing.F) {
	fx := newFixture(f, func(o *Options) { // the same log in every fuzzing process
		o.Key = mustKey(newKey("test", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))
		o.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	})
	events := map[string]int{}
	for i := range fx.log {
		p, err := Prove(fx.o.Path, strconv.Itoa(i))
		if err != nil {
			f.Fatal(err)
		}
		events[p.Event] = i
		text, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Proof
		if json.Unmarshal(text, &p) != nil {
			return
		}
		err := CheckProof(p, fx.o.Key.Public())
		if err != nil && fault.NameOf(err) != "AuditProofInvalid" {
			t.Fatal(err)
		}
		if i, ok := events[p.Event]; err == nil && (!ok || p.Seq != uint64(i)) {
			t.Fatalf("proven: event %d, %q", p.Seq, p.Event)
		}
	})
}
