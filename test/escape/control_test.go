package escape

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTheSuiteCanFail runs some cases of every kind without a wall: the suite has
// to call each of them an escape. A suite that passes there proves nothing here.
func TestTheSuiteCanFail(t *testing.T) {
	if *wall == "none" {
		t.Skip("this is the run without a wall")
	}
	ids := []string{"A7", "A13-orphan", "B1", "B3", "B7", "B11", "C1", "C5", "C9", "C13", "E7", "E13"}
	who := accounts(t)
	ordinary := who[len(who)-1].Name
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run", "^TestEscape$/^"+ordinary+"$/^("+strings.Join(ids, "|")+")$", "-wall=none")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("without a wall the suite passes")
	}
	text := string(out)
	for _, id := range ids {
		begin := strings.Index(text, "=== RUN   TestEscape/"+ordinary+"/"+id+"\n")
		if begin < 0 {
			t.Fatalf("%s did not run:\n%s", id, text)
		}
		part, _, _ := strings.Cut(text[begin+10:], "=== RUN ")
		if !strings.Contains(part, "ESCAPED") {
			t.Errorf("%s: not called an escape without a wall:\n%s", id, part)
		}
		if strings.Contains(part, "INVALID") {
			t.Errorf("%s: invalid without a wall:\n%s", id, part)
		}
	}
}
