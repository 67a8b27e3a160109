package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/fault"
	"firma/internal/ids"
	"firma/internal/verdict"
)

func TestAppendFillsTheEvent(t *testing.T) {
	o := testOptions(t)
	o.Now = func() time.Time { return time.Unix(1_800_000_000, 123_456_789) }
	l := openLog(t, o)
	events := appendEvents(t, l, 3)
	c := closeLog(t, l)
	lines := readLines(t, o.Path)
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3", len(lines))
	}
	prev := zeroHash
	for i, e := range events {
		if e.Seq != uint64(i) || e.PrevHash != prev || e.Timestamp != 1_800_000_000_123_456_000 || e.Schema != Schema || !ids.Valid(ids.Event, e.EventID) {
			t.Errorf("event %d: %+v", i, e)
		}
		canonical, err := AppendCanonical(nil, e)
		if err != nil || string(canonical) != strings.TrimSuffix(string(lines[i]), "\n") {
			t.Errorf("line %d is %s, want %s (%v)", i, lines[i], canonical, err)
		}
		got, _ := newReader().read(canonical)
		prev = hexHash(got.leaf)
	}
	if events[0].Outcome != "" || events[1].Outcome != "DENY" || events[2].Outcome != "ALLOW" {
		t.Errorf("outcomes %q %q %q", events[0].Outcome, events[1].Outcome, events[2].Outcome)
	}
	if c.Size != 3 || !c.Sealed() || c.Origin != "sbx_test" || c.Number != 1 {
		t.Errorf("final checkpoint %+v", c)
	}
}

func TestGivenFieldsAreKept(t *testing.T) {
	o := testOptions(t)
	l := openLog(t, o)
	e := &Event{EventID: "aevt_mine", Timestamp: 1_800_000_000_000_000_999, Outcome: verdict.Passthrough, Decision: verdict.Allow, Signature: "stale"}
	if err := l.Append(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if e.EventID != "aevt_mine" || e.Timestamp != 1_800_000_000_000_000_000 || e.Outcome != "PASSTHROUGH" || e.Signature != "" {
		t.Errorf("got %+v", e)
	}
	wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
}

func TestFilesAreClosedToOthers(t *testing.T) {
	o := testOptions(t)
	writeLog(t, o, 2)
	for path, want := range map[string]fs.FileMode{
		o.Path: 0o600, o.Path + CheckpointsSuffix: 0o600, filepath.Join(o.CheckpointDir, "run.jsonl.checkpoint"): 0o600,
		filepath.Dir(o.Path): 0o700, o.CheckpointDir: 0o700,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	left, err := os.ReadDir(o.CheckpointDir)
	if err != nil || len(left) != 1 {
		t.Errorf("checkpoint directory holds %v, %v; want one file", left, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, o *Options)
		fault string
	}{
		"existing log": {func(t *testing.T, o *Options) { writeLog(t, *o, 1) }, "AuditLogExists"},
		"removed log": {func(t *testing.T, o *Options) {
			writeLog(t, *o, 1)
			remove(t, o.Path)
			remove(t, o.Path+CheckpointsSuffix)
		}, "AuditLogExists"},
		"leftover":           {func(t *testing.T, o *Options) { writeLog(t, *o, 1); remove(t, o.Path); o.CheckpointDir = "" }, "AuditLogExists"},
		"symbolic link":      {func(t *testing.T, o *Options) { mkdir(t, o, 0o700); symlink(t, o.Path+".target", o.Path) }, "AuditLogExists"},
		"open directory":     {func(t *testing.T, o *Options) { mkdir(t, o, 0o770) }, "AuditUnavailable"},
		"world-writable":     {func(t *testing.T, o *Options) { mkdir(t, o, 0o777|fs.ModeSticky) }, "AuditUnavailable"},
		"unwritable parent":  {func(t *testing.T, o *Options) { o.Path = "/proc/nowhere/run.jsonl" }, "AuditUnavailable"},
		"no key":             {func(t *testing.T, o *Options) { o.Key = nil }, "AuditKeyMissing"},
		"no origin":          {func(t *testing.T, o *Options) { o.Origin = "" }, ""},
		"line in the origin": {func(t *testing.T, o *Options) { o.Origin = "a\n9" }, ""},
		"no path":            {func(t *testing.T, o *Options) { o.Path = "" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			c.spoil(t, &o)
			before := tree1(t, filepath.Dir(o.Path))
			l, err := Open(o)
			if err == nil {
				closeLog(t, l)
				t.Fatal("opened")
			}
			if got := fault.NameOf(err); got != c.fault {
				t.Errorf("fault %q, want %q: %v", got, c.fault, err)
			}
			if diff := cmp.Diff(before, tree1(t, filepath.Dir(o.Path))); diff != "" {
				t.Errorf("the refusal left files (-before +after):\n%s", diff)
			}
		})
	}
}

// tree1 lists a directory.
func tree1(t *testing.T, dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

func mkdir(t *testing.T, o *Options, mode fs.FileMode) {
	t.Helper()
	dir := filepath.Dir(o.Path)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestBadInfoIsRefused(t *testing.T) {
	o := testOptions(t)
	l := openLog(t, o)
	for _, info := range []string{"", "[]", "{", `{"a":1.5}`, "null"} {
		err := l.Append(context.Background(), &Event{Info: json.RawMessage(info)})
		if fault.NameOf(err) != "AuditEventInvalid" {
			t.Errorf("info %q: %v", info, err)
		}
	}
	big := &Event{Resource: strings.Repeat("x", MaxEventBytes)}
	if err := l.Append(context.Background(), big); fault.NameOf(err) != "AuditEventInvalid" {
		t.Errorf("huge event: %v", err)
	}
	big.Resource = big.Resource[:MaxEventBytes-2000]
	if err := l.Append(context.Background(), big); err != nil {
		t.Errorf("large event: %v", err)
	}
	closeLog(t, l)
	r := mustVerify(t, o.verify())
	wantStatus(t, r, StatusSealed)
	if r.Events != 1 {
		t.Errorf("%d events, want 1", r.Events)
	}
}

func TestManyGoroutinesAppend(t *testing.T) {
	o := testOptions(t)
	o.Queue = 16
	l := openLog(t, o)
	const goroutines, each = 1000, 3
	seen := make([][]*Event, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				e := sampleEvent(g*each + i)
				if err := l.Append(context.Background(), e); err != nil {
					t.Error(err)
				}
				seen[g] = append(seen[g], e)
			}
			if err := l.Record(sampleEvent(g)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c := closeLog(t, l)
	if want := uint64(goroutines * (each + 1)); c.Size != want {
		t.Errorf("%d events signed, want %d", c.Size, want)
	}
	wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
	lines := readLines(t, o.Path)
	for _, events := range seen {
		for i, e := range events {
			if i > 0 && e.Seq <= events[i-1].Seq {
				t.Fatalf("seq %d after %d in one goroutine", e.Seq, events[i-1].Seq)
			}
			if want, _ := AppendCanonical(nil, e); !bytes.Equal(append(want, '\n'), append(bytes.TrimSuffix(lines[e.Seq], []byte("\n")), '\n')) {
				t.Fatalf("event %d is not at its line", e.Seq)
			}
		}
	}
}

// slowFile is a log file whose writes wait, or fail.
type slowFile struct {
	file
	gate chan struct{} // a write takes one token
	fail func(b []byte, f file) (int, error)
}

func (s *slowFile) Write(b []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	if s.fail != nil {
		return s.fail(b, s.file)
	}
	return s.file.Write(b)
}

// openSlow opens a log whose file is wrapped.
func openSlow(t *testing.T, o Options, s *slowFile) *Log {
	t.Helper()
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	st, err := openStore(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.file, st.log.f = st.log.f, s
	return start(o, st)
}

func TestFullQueueWaitsThenRefuses(t *testing.T) {
	o := testOptions(t)
	o.Queue = 2
	s := &slowFile{gate: make(chan struct{})}
	l := openSlow(t, o, s)
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	<-l.opened // what is refused before is not queued
	// Fill the queue. The writer may hold one event more than the queue does.
	queued := 0
	for {
		err := l.Append(expired, sampleEvent(queued))
		if fault.NameOf(err) != "AuditUnavailable" || !errors.Is(err, context.Canceled) {
			t.Fatalf("Append with a full or waiting log: %v", err)
		}
		if strings.Contains(err.Error(), "queue is full") {
			break
		}
		queued++
	}
	if queued < 2 {
		t.Fatalf("only %d events were queued", queued)
	}
	// A caller with time waits until there is room, and then succeeds.
	result := make(chan error, 1)
	go func() { result <- l.Append(context.Background(), sampleEvent(queued)) }()
	go func() {
		for {
			select {
			case s.gate <- struct{}{}:
			case <-l.done:
				return
			}
		}
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	// Nothing that was queued is lost, even though its callers left.
	if c := closeLog(t, l); c.Size != uint64(queued)+1 {
		t.Errorf("%d events in the log, want %d", c.Size, queued+1)
	}
	wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
}

func TestClosedLogRefuses(t *testing.T) {
	o := testOptions(t)
	l := openLog(t, o)
	first := closeLog(t, l)
	if err := l.Append(context.Background(), sampleEvent(0)); fault.NameOf(err) != "AuditUnavailable" {
		t.Errorf("Append after Close: %v", err)
	}
	if err := l.Record(sampleEvent(0)); fault.NameOf(err) != "AuditUnavailable" {
		t.Errorf("Record after Close: %v", err)
	}
	if again := closeLog(t, l); again.String() != first.String() {
		t.Errorf("second Close returns %v, want %v", again, first)
	}
	r := mustVerify(t, o.verify())
	wantStatus(t, r, StatusSealed)
	if r.Events != 0 {
		t.Errorf("%d events", r.Events)
	}
}

func TestCloseHonoursItsContext(t *testing.T) {
	o := testOptions(t)
	s := &slowFile{gate: make(chan struct{})}
	l := openSlow(t, o, s)
	if err := l.Record(sampleEvent(0)); err != nil {
		t.Fatal(err)
	}
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Close(expired); !errors.Is(err, context.Canceled) {
		t.Fatalf("Close: %v", err)
	}
	close(s.gate)
	if c := closeLog(t, l); c.Size != 1 {
		t.Errorf("%d events, want the queued one", c.Size)
	}
}

// A write that fails half-way leaves a log that ends after the last event that
// was written, and lets nothing more in.
func TestWriteErrorEndsTheLog(t *testing.T) {
	for name, fail := range map[string]func([]byte, file) (int, error){
		"nothing written": func([]byte, file) (int, error) { return 0, errors.New("no space") },
		"half a line":     func(b []byte, f file) (int, error) { n, _ := f.Write(b[:len(b)/2]); return n, errors.New("no space") },
		"a line, no end":  func(b []byte, f file) (int, error) { n, _ := f.Write(b[:len(b)-1]); return n, errors.New("no space") },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			s := &slowFile{}
			writes := 0
			s.fail = func(b []byte, f file) (int, error) {
				if writes++; writes > 3 {
					return fail(b, f)
				}
				return f.Write(b)
			}
			l := openSlow(t, o, s)
			appendEvents(t, l, 3)
			for range 2 {
				err := l.Append(context.Background(), sampleEvent(3))
				if fault.NameOf(err) != "AuditUnavailable" || !strings.Contains(err.Error(), o.Path) {
					t.Fatalf("Append on a full disk: %v", err)
				}
			}
			if err := l.Record(sampleEvent(3)); fault.NameOf(err) != "AuditUnavailable" {
				t.Fatalf("Record after the failure: %v", err)
			}
			c, err := l.Close(context.Background())
			if err == nil || c.Kind != CheckpointFailed || c.Size != 3 {
				t.Errorf("Close returns %v, %v; want a failed checkpoint of 3 events and the error", c, err)
			}
			r := mustVerify(t, o.verify())
			wantStatus(t, r, StatusUnsealed)
			if r.Events != 3 || r.Unsigned != 0 || !strings.Contains(r.Text(), "write error") {
				t.Errorf("report: %s", r.Text())
			}
		})
	}
}

// TestRoomy: there is room until half the queue is taken, and none in a log that failed.
func TestRoomy(t *testing.T) {
	o := testOptions(t)
	o.Queue = 4
	s := &slowFile{gate: make(chan struct{})}
	l := openSlow(t, o, s)
	<-l.opened
	n := uint64(0)
	for ; l.Roomy(); n++ { // the writer has some of them in hand
		if err := l.Record(sampleEvent(int(n))); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(l.queue); got <= o.Queue/2 || got > o.Queue/2+1 {
		t.Errorf("%d of %d are queued when there is no room any more", got, o.Queue)
	}
	close(s.gate)
	if c := closeLog(t, l); c.Size != n {
		t.Errorf("%d events, want %d", c.Size, n)
	}

	l = openSlow(t, testOptions(t), &slowFile{fail: func([]byte, file) (int, error) { return 0, errors.New("no space") }})
	defer l.Close(context.Background())
	if !l.Roomy() {
		t.Error("an empty log has no room")
	}
	if l.Append(context.Background(), sampleEvent(0)) == nil || l.Roomy() {
		t.Error("a log that failed has room")
	}
}

// A panic of the caller that writes leaves none of those waiting whose events it
// had in hand, and nothing more is let in.
func TestPanicTellsAll(t *testing.T) {
	s := &slowFile{fail: func([]byte, file) (int, error) { panic("disk") }}
	l := openSlow(t, testOptions(t), s)
	l.turn.Lock()
	var waiting []*entry
	for i := range 3 {
		en, err := l.prepare(sampleEvent(i))
		if err != nil {
			t.Fatal(err)
		}
		en.waiter = true
		if err := l.enqueue(context.Background(), en); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, en)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		l.write(waiting[1])
	}()
	for i, en := range waiting {
		if len(en.done) != 1 || fault.NameOf(en.err) != "AuditUnavailable" {
			t.Errorf("event %d: told %d times, %v", i, len(en.done), en.err)
		}
	}
	if err := l.Append(context.Background(), sampleEvent(3)); fault.NameOf(err) != "AuditUnavailable" {
		t.Error(err)
	}
	if _, err := l.Close(context.Background()); err == nil {
		t.Error("it closes as if whole")
	}
}

// Events of every way to write, by callers that have the turn and by some that may
// not wait, while the log is closed under them: what was acknowledged is there once
// and each caller's in its order.
func TestCloseWhileCallersHaveTheTurn(t *testing.T) {
	for _, strict := range []bool{false, true} {
		o := testOptions(t)
		o.Queue, o.Strict = 8, strict
		l := openLog(t, o)
		var mu sync.Mutex
		acknowledged := map[string]int{}
		var wg sync.WaitGroup
		for g := range 12 {
			wg.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				for i := 0; ; i++ {
					e := sampleEvent(i)
					e.EventID = fmt.Sprintf("aevt_%d_%d", g, i)
					var err error
					switch (i + g) % 3 {
					case 0:
						err = l.Append(context.Background(), e)
					case 1:
						err = l.Append(ctx, e)
					default:
						err = l.Record(e)
					}
					if err != nil {
						return
					}
					mu.Lock()
					acknowledged[e.EventID] = g
					enough := len(acknowledged) == 500
					mu.Unlock()
					if enough {
						go l.Close(context.Background())
					}
				}
			})
		}
		wg.Wait()
		c := closeLog(t, l)
		text, err := os.ReadFile(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		last := map[int]int{}
		for line := range strings.Lines(string(text)) {
			var e struct {
				EventID string `json:"event_id"`
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			var g, i int
			if _, err := fmt.Sscanf(e.EventID, "aevt_%d_%d", &g, &i); err != nil {
				t.Fatal(err)
			}
			if i != last[g] {
				t.Errorf("caller %d: event %d where %d is due", g, i, last[g])
			}
			last[g]++
			delete(acknowledged, e.EventID)
		}
		if len(acknowledged) > 0 {
			t.Errorf("%d acknowledged events are not in the log", len(acknowledged))
		}
		if r := mustVerify(t, o.verify()); c.Size != uint64(r.Events) {
			t.Errorf("%d events are sealed, %d there", c.Size, r.Events)
		}
		wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
	}
}

func TestLogReplacedWhileInUse(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed":   os.Remove,
		"replaced":  func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
		"shortened": func(path string) error { return os.Truncate(path, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			l := openLog(t, o)
			appendEvents(t, l, 2)
			if err := spoil(o.Path); err != nil {
				t.Fatal(err)
			}
			if c, err := l.Close(context.Background()); fault.NameOf(err) != "AuditUnavailable" || c.Sealed() {
				t.Errorf("Close returns %v, %v; want a failure", c, err)
			}
			wantStatus(t, mustVerify(t, o.verify()), StatusTampered)
		})
	}
}

func TestCheckpointEveryCount(t *testing.T) {
	o := testOptions(t)
	o.CheckpointEvery, o.CheckpointAfter = 10, time.Hour
	made := make(chan Checkpoint, 10)
	o.Witness = func(c Checkpoint) { made <- c }
	l := openLog(t, o)
	if c := <-made; c.Kind != CheckpointOpen || c.Size != 0 || c.Number != 0 {
		t.Errorf("first checkpoint %v", &c)
	}
	appendEvents(t, l, 9)
	if len(made) != 0 {
		t.Errorf("a checkpoint after 9 events")
	}
	appendEvents(t, l, 1)
	if c := <-made; c.Kind != CheckpointPeriodic || c.Size != 10 || c.Number != 1 {
		t.Errorf("second checkpoint %v", &c)
	}
	final := closeLog(t, l)
	if c := <-made; !cmp.Equal(c, final) {
		t.Errorf("witness saw %v, Close returned %v", &c, &final)
	}
	if n := len(readLines(t, o.Path+CheckpointsSuffix)); n != 3 {
		t.Errorf("%d checkpoints in the file, want 3", n)
	}
}

func TestCheckpointAfterASecond(t *testing.T) {
	o := testOptions(t)
	synctest.Test(t, func(t *testing.T) {
		made := make(chan Checkpoint, 10)
		o.Witness = func(c Checkpoint) { made <- c }
		l := openLog(t, o)
		time.Sleep(time.Hour) // fake time: without events there is nothing to sign
		synctest.Wait()
		if len(made) != 1 {
			t.Fatalf("%d checkpoints of an empty log, want the first only", len(made))
		}
		for _, at := range []time.Duration{0, 500 * time.Millisecond, 499 * time.Millisecond} {
			time.Sleep(at)
			appendEvents(t, l, 1)
		}
		synctest.Wait()
		if len(made) != 1 {
			t.Fatal("a checkpoint before the second was over")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(made) != 2 {
			t.Fatalf("after a second: %d checkpoints, want 2", len(made))
		}
		if <-made; (<-made).Size != 3 {
			t.Fatal("the second checkpoint does not cover the three events")
		}
		closeLog(t, l)
	})
	wantStatus(t, mustVerify(t, o.verify()), StatusSealed)
}

func TestStrictSyncsBeforeItReturns(t *testing.T) {
	o := testOptions(t)
	o.Strict = true
	if err := o.settle(); err != nil {
		t.Fatal(err)
	}
	st, err := openStore(&o)
	if err != nil {
		t.Fatal(err)
	}
	f := &syncCounter{file: st.log.f}
	st.log.f = f
	l := start(o, st)
	for i := range 3 {
		if err := l.Append(context.Background(), sampleEvent(i)); err != nil {
			t.Fatal(err)
		}
		if f.synced != f.written || f.written == 0 {
			t.Fatalf("Append %d returned with %d of %d bytes synced", i, f.synced, f.written)
		}
	}
	f.fail = errors.New("I/O error")
	if err := l.Append(context.Background(), sampleEvent(3)); !errors.Is(err, f.fail) {
		t.Errorf("Append with failing fsync: %v", err)
	}
	if _, err := l.Close(context.Background()); err == nil {
		t.Error("Close hides the failure")
	}
	if r := mustVerify(t, o.verify()); r.Events != 3 || !r.OK() {
		t.Errorf("report: %s", r.Text())
	}
}

// syncCounter knows how many bytes were written and how many are durable. It is
// used by the writer only, and read after Append returned.
type syncCounter struct {
	file
	written, synced int
	fail            error
}

func (s *syncCounter) Write(b []byte) (int, error) {
	s.written += len(b)
	return s.file.Write(b)
}

func (s *syncCounter) Sync() error {
	if s.fail != nil {
		return s.fail
	}
	s.synced = s.written
	return s.file.Sync()
}

func TestInfoPairs(t *testing.T) {
	if got := string(Info("b", "2", "a", "<1>", "odd")); !json.Valid([]byte(got)) || !strings.Contains(got, "\"b\":\"2\"") || strings.Contains(got, "odd") {
		t.Errorf("Info = %s", got)
	}
}

func ExampleCheckpoint_Body() {
	c := Checkpoint{Origin: "sbx_1", Size: 2, Number: 1, Time: time.Unix(1_800_000_000, 0), Kind: CheckpointFinal}
	fmt.Print(string(c.Body()))
	// Output:
	// firma.audit.v1/sbx_1
	// 2
	// AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
	// number 1
	// time 2027-01-15T08:00:00.000000Z
	// kind final
	// sign checkpoint
}
