//go:build linux

package account

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestAccountsAreWhoTheySay(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 && (len(all) != 2 || !all[1].Ordinary()) {
		t.Fatalf("as root the suite needs an ordinary user too: %+v", all)
	}
	for _, a := range all {
		cmd := exec.Command("id", "-u")
		cmd.Dir = "/"
		a.Apply(cmd)
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(a.UID) {
			t.Errorf("%s: id says %q, %v", a.Name, out, err)
		}
	}
}
