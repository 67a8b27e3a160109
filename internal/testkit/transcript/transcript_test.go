package transcript_test

import (
	"fmt"
	"testing"

	"firma/internal/testkit/transcript"
)

func TestWait(t *testing.T) {
	tr := transcript.New()
	fmt.Fprint(tr, "one two")
	if n := tr.Wait(0, "two"); n != 7 {
		t.Error(n)
	}
	go func() {
		fmt.Fprint(tr, " two ")
		fmt.Fprint(tr, "three")
		tr.Close()
	}()
	if n := tr.Wait(7, "two"); n != 11 {
		t.Error(n)
	}
	if n := tr.Wait(11, "two"); n != -1 {
		t.Error(n)
	}
	if s := tr.String(); s != "one two two three" {
		t.Error(s)
	}
}
