package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"firma/internal/fault"
)

// A log in use verifies as unsealed, with the events that are not signed yet.
func TestVerifyLogInUse(t *testing.T) {
	o := testOptions(t)
	o.CheckpointEvery, o.CheckpointAfter = 5, time.Hour
	made := make(chan Checkpoint, 10)
	o.Witness = func(c Checkpoint) { made <- c }
	l := openLog(t, o)
	<-made
	appendEvents(t, l, 5)
	<-made
	appendEvents(t, l, 3)
	r := mustVerify(t, o.verify())
	wantStatus(t, r, StatusUnsealed)
	if r.Events != 8 || r.Unsigned != 3 || r.Newest.Size != 5 || r.Sealed || !r.OK() {
		t.Errorf("report %+v", r)
	}
	if !strings.Contains(r.Text(), "3 events after the last checkpoint are chained but not yet signed") {
		t.Errorf("text: %s", r.Text())
	}
	closeLog(t, l)
	wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
}

func TestSealedText(t *testing.T) {
	o := testOptions(t)
	o.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	writeLog(t, o, 2)
	r := mustVerify(t, o.verify())
	want := "OK " + o.Path + ": 2 events from 2027-01-15T08:00:00Z to 2027-01-15T08:00:00Z, sealed; 2 checkpoints, key " + o.Key.ID()[:16] + "\n"
	if got := r.Text(); got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

// What the log says never reaches the terminal raw.
func TestTextIsSafe(t *testing.T) {
	f := newFixture(t, nil)
	fs := f.files()
	fs.log = join(replaced(replaced(f.log, 3, `"event_id":"`, `"event_id":"\u001b[2J\u202e`), 5, "{", "\x1b]0;x\x07"))
	o := f.store(t, fs)
	r := mustVerify(t, o)
	wantStatus(t, r, StatusTampered)
	for _, c := range r.Text() {
		if c != '\n' && !unicode.IsPrint(c) {
			t.Fatalf("text holds %q:\n%q", c, r.Text())
		}
	}
}

func TestProblemsAreCounted(t *testing.T) {
	f := newFixture(t, nil)
	fs := f.files()
	fs.log = bytes.Repeat([]byte("x\n"), MaxProblems+5)
	r := mustVerify(t, f.store(t, fs))
	if len(r.Problems) != MaxProblems || r.ProblemCount < MaxProblems+5 || !strings.Contains(r.Text(), "more\n") {
		t.Errorf("%d problems listed of %d", len(r.Problems), r.ProblemCount)
	}
}

func TestReportJSON(t *testing.T) {
	f := newFixture(t, nil)
	fs := f.files()
	fs.log = join(f.log[:11])
	r := mustVerify(t, f.store(t, fs))
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Status     string
		Events     int
		Problems   []map[string]any
		Checkpoint Checkpoint
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Status != "tampered" || got.Events != 11 || got.Problems[0]["kind"] != "truncated" || got.Checkpoint.Size != 12 {
		t.Errorf("JSON %s", text)
	}
	if err := CheckCheckpoint(&got.Checkpoint, f.o.Key.Public()); err != nil {
		t.Errorf("the checkpoint does not survive JSON: %v", err)
	}
}

// A checkpoint that a person or a witness kept shows what the files do not.
func TestKnownCheckpoint(t *testing.T) {
	f := newFixture(t, nil)
	var kept Checkpoint
	if err := json.Unmarshal(f.pin, &kept); err != nil {
		t.Fatal(err)
	}
	cut := files{join(f.log[:5]), join(f.checkpoints[:2]), f.checkpoints[1]}
	o := f.store(t, cut)
	wantStatus(t, mustVerify(t, o), StatusUnsealed) // all three copies were cut back
	o.Known = []Checkpoint{kept}
	wantStatus(t, mustVerify(t, o), StatusTampered)
	o = f.store(t, f.files())
	o.Known, o.Origin = []Checkpoint{kept}, f.o.Origin
	wantStatus(t, mustVerify(t, o), StatusSealed)
	o.Origin = "sbx_other"
	wantStatus(t, mustVerify(t, o), StatusTampered)
}

func TestVerifyUnreadable(t *testing.T) {
	o := testOptions(t)
	for name, path := range map[string]string{"missing": o.Path, "directory": t.TempDir(), "device": "/dev/null"} {
		v := VerifyOptions{Path: path, Key: testKey().Public()}
		if _, err := Verify(v); fault.NameOf(err) != "AuditLogUnreadable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The line of a log in use whose end is not written yet is no problem.
func TestGrowingLine(t *testing.T) {
	f := newFixture(t, nil)
	ring, err := newKeyring(f.o.Key.Public(), nil)
	if err != nil {
		t.Fatal(err)
	}
	fs := f.files()
	half := len(fs.log) - 20
	for _, grows := range []bool{true, false} {
		r := Report{}
		cs := &checkpoints{ring: ring, report: &r}
		log := halfWritten{bytes.NewReader(fs.log[:half]), grows}
		if err := verifyFiles(&r, cs, log, bytes.NewReader(join(f.checkpoints[:3]))); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: StatusUnsealed, false: StatusTampered}[grows]; r.Status != want {
			t.Errorf("growing %v: %s", grows, r.Text())
		}
	}
}

type halfWritten struct {
	*bytes.Reader
	grows bool
}

func (h halfWritten) grew() bool { return h.grows }

// /dev/full is a disk that is always full.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	o := testOptions(t)
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	st, err := openStore(&o)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.log.f.Close(); err != nil {
		t.Fatal(err)
	}
	st.log.f = full
	l := start(o, st)
	for range 3 {
		err := l.Append(context.Background(), sampleEvent(0))
		if fault.NameOf(err) != "AuditUnavailable" || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), o.Path) {
			t.Errorf("Append: %v", err)
		}
	}
	if _, err := l.Close(context.Background()); fault.NameOf(err) != "AuditUnavailable" {
		t.Errorf("Close: %v", err)
	}
	if info, err := os.Stat(filepath.Join(o.CheckpointDir, "run.jsonl.checkpoint")); err != nil || info.Size() == 0 {
		t.Errorf("no checkpoint says how the log ended: %v", err)
	}
}

// A checkpoint that cannot be stored ends the log, too: its events could not be
// signed.
func TestFullCheckpointDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	o := testOptions(t)
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	st, err := openStore(&o)
	if err != nil {
		t.Fatal(err)
	}
	st.checkpoints.f = full
	l := start(o, st)
	for l.Append(context.Background(), sampleEvent(0)) == nil {
		continue // until the signer has failed
	}
	if _, err := l.Close(context.Background()); fault.NameOf(err) != "AuditUnavailable" {
		t.Errorf("Close: %v", err)
	}
}

// A log that is wrong everywhere is still verified in bounded memory.
func TestManyCopies(t *testing.T) {
	f := newFixture(t, nil)
	for name, lines := range map[string][][]byte{
		"of a late event":   append([][]byte{f.log[0], f.log[1]}, slices.Repeat(f.log[:1], 3*maxOutOfPlace)...),
		"of an early event": append([][]byte{f.log[0]}, slices.Repeat([][]byte{f.log[9], f.log[0]}, 3*maxOutOfPlace)...),
	} {
		fs := f.files()
		fs.log = join(lines)
		r := f.mustNotice(t, fs, name)
		if r.Events != uint64(len(lines)) || r.ProblemCount < 3*maxOutOfPlace {
			t.Errorf("%s: %d events, %d problems of %d lines", name, r.Events, r.ProblemCount, len(lines))
		}
	}
}

// FuzzCheckpoint: what is read is what is written, and signs the same bytes.
func FuzzCheckpoint(f *testing.F) {
	for _, line := range newFixture(f, nil).checkpoints {
		f.Add(line)
	}
	f.Add([]byte(`{"body":"firma.audit.v1/x\n0\n\nnumber 0\ntime \nkind open\nsign event\n","key":"","signature":""}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c, again Checkpoint
		if json.Unmarshal(raw, &c) != nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil || !bytes.Equal(c.Body(), again.Body()) {
			t.Fatalf("%s reads as %v, then as %v (%v)", raw, &c, &again, err)
		}
	})
}
