package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fixture is a sealed log as bytes: 12 events, checkpoints of 0, 5, 10 and 12.
type fixture struct {
	o           Options
	log         [][]byte // lines with line feeds
	checkpoints [][]byte
	pin         []byte
}

func newFixture(t testing.TB, set func(*Options)) *fixture {
	t.Helper()
	o := testOptions(t)
	o.CheckpointEvery, o.CheckpointAfter = 5, time.Hour
	made := make(chan Checkpoint, 16)
	o.Witness = func(c Checkpoint) { made <- c }
	if set != nil {
		set(&o)
	}
	l := openLog(t, o)
	<-made
	for i := range 12 {
		e := sampleEvent(i)
		e.EventID = fmt.Sprintf("aevt_%026d", i)
		if err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
		if i == 4 || i == 9 {
			<-made
		}
	}
	closeLog(t, l)
	pin, err := os.ReadFile(filepath.Join(o.CheckpointDir, "run.jsonl.checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{o, readLines(t, o.Path), readLines(t, o.Path+CheckpointsSuffix), pin}
	f.log[11] = append(bytes.Clone(f.log[11]), '\n')
	f.checkpoints[3] = append(bytes.Clone(f.checkpoints[3]), '\n')
	return f
}

// files are the bytes of a log and its checkpoints, nil for a missing file.
type files struct{ log, checkpoints, pin []byte }

func (f *fixture) files() files {
	return files{bytes.Join(f.log, nil), bytes.Join(f.checkpoints, nil), bytes.Clone(f.pin)}
}

// store writes fs to a fresh directory and returns how to verify it.
func (f *fixture) store(t testing.TB, fs files) VerifyOptions {
	t.Helper()
	dir := t.TempDir()
	o := VerifyOptions{Path: filepath.Join(dir, "run.jsonl"), Key: f.o.Key.Public(), CheckpointDir: filepath.Join(dir, "pins")}
	if err := os.Mkdir(o.CheckpointDir, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, o.Path, fs.log)
	put(t, o.Path+CheckpointsSuffix, fs.checkpoints)
	put(t, filepath.Join(o.CheckpointDir, "run.jsonl.checkpoint"), fs.pin)
	return o
}

func put(t testing.TB, path string, text []byte) {
	t.Helper()
	if text == nil {
		return
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// without returns lines without line i; swapped, copied and with change one more.
func without(lines [][]byte, from, to int) [][]byte {
	return append(append([][]byte{}, lines[:from]...), lines[to:]...)
}

func inserted(lines [][]byte, at int, line []byte) [][]byte {
	return append(append(append([][]byte{}, lines[:at]...), line), lines[at:]...)
}

func swapped(lines [][]byte, i, j int) [][]byte {
	out := append([][]byte{}, lines...)
	out[i], out[j] = out[j], out[i]
	return out
}

func replaced(lines [][]byte, i int, old, new string) [][]byte {
	out := append([][]byte{}, lines...)
	out[i] = bytes.Replace(out[i], []byte(old), []byte(new), 1)
	if bytes.Equal(out[i], lines[i]) {
		panic("nothing to replace: " + old)
	}
	return out
}

func join(lines [][]byte) []byte { return bytes.Join(lines, nil) }

// found is a problem as the table gives it.
type found struct {
	kind string
	seq  int64
	line int
}

func TestVerifyNamesEveryEdit(t *testing.T) {
	f := newFixture(t, nil)
	L, C := f.log, f.checkpoints
	other := newFixture(t, nil)
	ownKey := newFixture(t, func(o *Options) { o.Key = edKey(t) })
	otherRun := newFixture(t, func(o *Options) { o.Origin = "sbx_other" })
	log := func(lines [][]byte) func(*files) { return func(fs *files) { fs.log = join(lines) } }
	signed := func(lines [][]byte) func(*files) { return func(fs *files) { fs.checkpoints = join(lines) } }
	for name, c := range map[string]struct {
		edit func(*files)
		want []found
	}{
		"first removed":          {log(L[1:]), []found{{ProblemMissing, 0, 1}}},
		"head removed":           {log(L[3:]), []found{{ProblemMissing, 0, 1}}},
		"one removed":            {log(without(L, 6, 7)), []found{{ProblemMissing, 6, 7}}},
		"three removed":          {log(without(L, 6, 9)), []found{{ProblemMissing, 6, 7}}},
		"last removed":           {log(L[:11]), []found{{ProblemTruncated, 11, 11}}},
		"tail removed":           {log(L[:7]), []found{{ProblemTruncated, 7, 7}}},
		"all removed":            {log(nil), []found{{ProblemTruncated, 0, 0}}},
		"neighbours swapped":     {log(swapped(L, 3, 4)), []found{{ProblemReordered, 4, 4}}},
		"first two swapped":      {log(swapped(L, 0, 1)), []found{{ProblemReordered, 1, 1}}},
		"last two swapped":       {log(swapped(L, 10, 11)), []found{{ProblemReordered, 11, 11}}},
		"moved down":             {log(inserted(without(L, 3, 4), 7, L[3])), []found{{ProblemReordered, 3, 8}}},
		"moved up":               {log(inserted(without(L, 7, 8), 3, L[7])), []found{{ProblemReordered, 7, 4}}},
		"doubled in place":       {log(inserted(L, 3, L[3])), []found{{ProblemDuplicate, 3, 5}}},
		"doubled later":          {log(inserted(L, 9, L[3])), []found{{ProblemDuplicate, 3, 10}}},
		"doubled earlier":        {log(inserted(L, 3, L[9])), []found{{ProblemDuplicate, 9, 4}}},
		"last doubled":           {log(append(append([][]byte{}, L...), L[11])), []found{{ProblemDuplicate, 11, 13}}},
		"foreign event":          {log(inserted(L, 3, other.log[3])), []found{{ProblemInserted, 3, 4}}},
		"foreign event behind":   {log(inserted(L, 4, other.log[3])), []found{{ProblemInserted, 3, 5}}},
		"foreign event at end":   {log(append(append([][]byte{}, L...), other.log[11])), []found{{ProblemInserted, 11, 13}}},
		"event replaced":         {log(inserted(without(L, 3, 4), 3, other.log[3])), []found{{ProblemEdited, 3, 4}}},
		"line of text":           {log(inserted(L, 3, []byte("# note\n"))), []found{{ProblemMalformed, 3, 4}}},
		"empty line":             {log(inserted(L, 3, []byte("\n"))), []found{{ProblemMalformed, 3, 4}}},
		"empty line at end":      {log(inserted(L, 12, []byte("\n"))), []found{{ProblemMalformed, 12, 13}}},
		"event overwritten":      {log(inserted(without(L, 3, 4), 3, []byte("{}\n"))), []found{{ProblemMalformed, 3, 4}}},
		"no end":                 {func(fs *files) { fs.log = fs.log[:len(fs.log)-1] }, []found{{ProblemTorn, -1, 12}}},
		"half a line":            {func(fs *files) { fs.log = fs.log[:len(fs.log)-9] }, []found{{ProblemTorn, -1, 12}, {ProblemTruncated, 11, 12}}},
		"space added":            {log(replaced(L, 3, `,"kind"`, `, "kind"`)), []found{{ProblemNotCanonical, 3, 4}}},
		"carriage return":        {log(replaced(L, 3, "\n", "\r\n")), []found{{ProblemNotCanonical, 3, 4}}},
		"escape changed":         {log(replaced(L, 3, "local-dev", `local\u002ddev`)), []found{{ProblemNotCanonical, 3, 4}}},
		"member added":           {log(replaced(L, 3, `{"action"`, `{"a":1,"action"`)), []found{{ProblemNotCanonical, 3, 4}}},
		"member doubled":         {log(replaced(L, 3, `"kind":`, `"kind":"x","kind":`)), []found{{ProblemNotCanonical, 3, 4}}},
		"member order":           {log(replaced(L, 3, `"kind":"request","outcome":"ALLOW"`, `"outcome":"ALLOW","kind":"request"`)), []found{{ProblemNotCanonical, 3, 4}}},
		"key's case":             {log(replaced(L, 3, `"kind"`, `"Kind"`)), []found{{ProblemNotCanonical, 3, 4}}},
		"signature added":        {log(replaced(L, 3, `,"thread_id"`, `,"signature":"AA==","thread_id"`)), []found{{ProblemSignature, 3, 4}}},
		"deny becomes allow":     {log(replaced(L, 4, `"outcome":"DENY"`, `"outcome":"ALLOW"`)), []found{{ProblemEdited, 4, 5}}},
		"first edited":           {log(replaced(L, 0, "repos", "other")), []found{{ProblemEdited, 0, 1}}},
		"last edited":            {log(replaced(L, 11, "repos", "other")), []found{{ProblemRootMismatch, 11, 12}}},
		"two edited":             {log(replaced(replaced(L, 3, "repos", "other"), 8, "repos", "other")), []found{{ProblemEdited, 3, 4}, {ProblemEdited, 8, 9}}},
		"link edited":            {log(replaced(L, 6, `"prev_hash":"`+eventAt(L, 6).PrevHash, `"prev_hash":"`+zeroHash)), []found{{ProblemEdited, 6, 7}}},
		"first link edited":      {log(replaced(L, 0, zeroHash, eventAt(L, 6).PrevHash)), []found{{ProblemEdited, 0, 1}}},
		"last link edited":       {log(replaced(L, 11, eventAt(L, 11).PrevHash, zeroHash)), []found{{ProblemEdited, 10, 11}}},
		"number raised":          {log(replaced(L, 6, `"seq":6`, `"seq":600`)), []found{{ProblemEdited, 6, 7}}},
		"number lowered":         {log(replaced(L, 6, `"seq":6`, `"seq":2`)), []found{{ProblemEdited, 6, 7}}},
		"first number":           {log(replaced(L, 0, `"seq":0`, `"seq":7`)), []found{{ProblemEdited, 0, 1}}},
		"last number":            {log(replaced(L, 11, `"seq":11`, `"seq":12`)), []found{{ProblemEdited, 11, 12}}},
		"rewritten, no key":      {func(fs *files) { fs.log = join(other.log) }, []found{{ProblemRootMismatch, 4, 5}}},
		"forged whole":           {func(fs *files) { *fs = ownKey.files() }, []found{{ProblemCheckpointKey, -1, 0}, {ProblemCheckpointKey, -1, 1}, {ProblemCheckpointKey, -1, 2}, {ProblemCheckpointKey, -1, 3}, {ProblemCheckpointKey, -1, 4}}},
		"another run's":          {func(fs *files) { p := fs.pin; *fs = otherRun.files(); fs.pin = p }, []found{{ProblemCheckpointOrigin, -1, 1}, {ProblemCheckpointOrigin, -1, 2}, {ProblemCheckpointOrigin, -1, 3}, {ProblemCheckpointOrigin, -1, 4}, {ProblemCheckpointMissing, -1, 0}, {ProblemRootMismatch, 11, 12}}},
		"log gone":               {func(fs *files) { fs.log = nil }, []found{{ProblemLogMissing, -1, 0}}},
		"log and file gone":      {func(fs *files) { fs.log, fs.checkpoints = nil, nil }, []found{{ProblemLogMissing, -1, 0}}},
		"checkpoint file gone":   {func(fs *files) { fs.checkpoints = nil }, []found{{ProblemCheckpointMissing, -1, 0}, {ProblemCheckpointMissing, -1, 0}}},
		"kept one gone":          {func(fs *files) { fs.pin = nil }, []found{{ProblemCheckpointMissing, -1, 0}}},
		"kept one edited":        {func(fs *files) { fs.pin = bytes.Replace(fs.pin, []byte("12"), []byte("11"), 1) }, []found{{ProblemCheckpointInvalid, -1, 0}}},
		"kept one spaced":        {func(fs *files) { fs.pin = append([]byte(" "), fs.pin...) }, []found{{ProblemCheckpointInvalid, -1, 0}}},
		"checkpoint removed":     {signed(without(C, 1, 2)), []found{{ProblemCheckpointMissing, -1, 2}}},
		"first one removed":      {signed(C[1:]), []found{{ProblemCheckpointMissing, -1, 1}}},
		"last one removed":       {signed(C[:3]), []found{{ProblemCheckpointMissing, -1, 0}}},
		"checkpoints swapped":    {signed(swapped(C, 1, 2)), []found{{ProblemCheckpointMissing, -1, 2}, {ProblemCheckpointOrder, -1, 3}}},
		"checkpoint doubled":     {signed(inserted(C, 2, C[1])), []found{{ProblemCheckpointOrder, -1, 3}}},
		"checkpoint edited":      {signed(replaced(C, 1, `\n5\n`, `\n4\n`)), []found{{ProblemCheckpointInvalid, -1, 2}}},
		"checkpoint respaced":    {signed(replaced(C, 1, `,"key"`, `, "key"`)), []found{{ProblemCheckpointInvalid, -1, 2}}},
		"checkpoint cut":         {func(fs *files) { fs.checkpoints = fs.checkpoints[:len(fs.checkpoints)-1] }, []found{{ProblemCheckpointInvalid, -1, 4}, {ProblemCheckpointMissing, -1, 0}}},
		"log cut, file cut":      {func(fs *files) { fs.log, fs.checkpoints = join(L[:5]), join(C[:2]) }, []found{{ProblemCheckpointMissing, -1, 0}, {ProblemTruncated, 5, 5}}},
		"event after the end":    {log(append(append([][]byte{}, L...), after(L[11], 12))), []found{{ProblemAfterSeal, 12, 13}}},
		"other run's checkpoint": {signed(inserted(C, 2, otherRun.checkpoints[2])), []found{{ProblemCheckpointOrigin, -1, 3}}},
		"foreign key's":          {signed(inserted(C, 2, ownKey.checkpoints[2])), []found{{ProblemCheckpointKey, -1, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			fs := f.files()
			c.edit(&fs)
			r := mustVerify(t, f.store(t, fs))
			wantStatus(t, r, StatusTampered)
			var got []found
			for _, p := range r.Problems {
				got = append(got, found{p.Kind, p.Seq, p.Line})
			}
			if !sameFound(got, c.want) {
				t.Errorf("found %v\nwant  %v\n%s", got, c.want, r.Text())
			}
		})
	}
}

// sameFound compares as multisets.
func sameFound(a, b []found) bool {
	left := map[found]int{}
	for _, p := range a {
		left[p]++
	}
	for _, p := range b {
		left[p]--
	}
	for _, n := range left {
		if n != 0 {
			return false
		}
	}
	return true
}

func eventAt(lines [][]byte, i int) stored {
	e, err := newReader().read(bytes.TrimSuffix(lines[i], []byte("\n")))
	if err != nil {
		panic(err)
	}
	return e
}

// after returns a well-linked event that follows the given line.
func after(line []byte, seq uint64) []byte {
	before := eventAt([][]byte{line}, 0)
	e := sampleEvent(int(seq))
	e.Schema, e.EventID, e.Seq, e.PrevHash = Schema, "aevt_forged", seq, hexHash(before.leaf)
	out, _, err := appendLine(nil, newHasher(), e)
	if err != nil {
		panic(err)
	}
	return append(out, '\n')
}
