package audit

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// appendEnv makes this test binary append to the log it names until it is killed.
const appendEnv = "FIRMA_TEST_AUDIT_LOG"

func TestMain(m *testing.M) {
	if path := os.Getenv(appendEnv); path != "" {
		if err := appendForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// appendForever prints the identifier of each event that Append has returned.
func appendForever(path string) error {
	l, err := Open(Options{Path: path, Origin: "killed", Key: killedKey(), CheckpointEvery: 50})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				e := sampleEvent(i)
				if l.Append(context.Background(), e) != nil {
					return
				}
				fmt.Println(e.EventID)
			}
		})
	}
	wg.Wait()
	return nil
}

// Whatever Append acknowledged before a kill -9 is in the log, and the log is
// whole up to there.
func TestKilledWriter(t *testing.T) {
	o := testOptions(t)
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), appendEnv+"="+o.Path)
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for in := bufio.NewScanner(out); in.Scan(); {
		acknowledged = append(acknowledged, in.Text())
		if len(acknowledged) == 500 {
			if err := helper.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = helper.Wait() // killed
	if len(acknowledged) < 500 {
		t.Fatalf("the helper appended %d events", len(acknowledged))
	}
	text, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range acknowledged {
		if id != "" && !strings.Contains(string(text), `"event_id":"`+id) {
			t.Errorf("event %s was acknowledged and is not in the log", id)
		}
	}
	wantKilledLog(t, o)
}

// killedKey is the same in parent and child.
func killedKey() *Key {
	return mustKey(newKey("test", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))
}

// wantKilledLog: unsealed without a problem, except that the kill may have cut
// the last write of either file.
func wantKilledLog(t *testing.T, o Options) {
	t.Helper()
	r := mustVerify(t, VerifyOptions{Path: o.Path, Key: killedKey().Public()})
	for _, p := range r.Problems {
		if p.Kind != ProblemTorn && p.Kind != ProblemCheckpointInvalid {
			t.Errorf("%s: %s", p.Kind, p.Text)
		}
	}
	if r.Events < 500 || r.Sealed { // the first checkpoint is made in the background
		t.Errorf("report: %s", r.Text())
	}
}
