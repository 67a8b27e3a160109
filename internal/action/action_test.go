package action_test

import (
	"slices"
	"testing"

	"firma/internal/action"
)

func TestRegistryIsTheContracts(t *testing.T) {
	all := action.All()
	if len(all) != 52 {
		t.Errorf("%d classes, the contract has 52", len(all))
	}
	if !slices.IsSorted(all) {
		t.Error("All is not sorted, so the search that Known uses is wrong")
	}
	for i, c := range all {
		if !action.WellFormed(c) {
			t.Errorf("%q breaks the naming rule", c)
		}
		if !action.Known(c) || action.Reserved(c) {
			t.Errorf("%q: Known %v, Reserved %v", c, action.Known(c), action.Reserved(c))
		}
		if i > 0 && all[i-1] == c {
			t.Errorf("%q is listed twice", c)
		}
		if r := action.RiskOf(c); r < action.Low || r > action.Critical {
			t.Errorf("%q has risk %d", c, r)
		}
	}
}

func TestAllBelongsToTheCaller(t *testing.T) {
	action.All()[0] = "changed"
	if got := action.All()[0]; got == "changed" {
		t.Error("a caller could change the registry")
	}
}

func TestRiskOf(t *testing.T) {
	for c, want := range map[action.Class]action.Risk{
		action.CodeRead:                  action.Low,
		action.CredentialRead:            action.Medium,
		action.CommunicationExternalSend: action.High,
		action.SystemInstall:             action.High,
		action.CodeWrite:                 action.High,
		action.CodeDestructive:           action.High,
		action.SystemExecute:             action.Critical,
		action.RepoAdmin:                 action.Critical,
		action.PaymentTransfer:           action.Critical,
		action.AccountPermissionChange:   action.Critical,
		"code.merge":                     action.Critical,
		"calendar.read":                  action.Low,
		"calendar.update":                action.Medium,
		"calendar.delete":                action.High,
		"document.schema.write":          action.High,
		"no.such.class":                  action.Critical,
		"":                               action.Critical,
	} {
		if got := action.RiskOf(c); got != want {
			t.Errorf("RiskOf(%q) = %v, want %v", c, got, want)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for _, c := range []action.Class{"", "code", "Code.read", "code.read ", "memory.read",
		"memory.write", "browser.navigate", "network.loopback", "secret.mediate"} {
		if action.Known(c) {
			t.Errorf("Known(%q)", c)
		}
	}
	if !action.Reserved("memory.read") || action.Reserved("code.read") {
		t.Error("Reserved is wrong")
	}
}

func TestWellFormed(t *testing.T) {
	for c, want := range map[action.Class]bool{
		"a.b": true, "a.b.c": true, "a.b_c.d": true,
		"": false, "a": false, ".b": false, "a..b": false, "a.b.": false, "A.b": false,
		"a.b1": false, "a-b.c": false, "a._b": false, "a.b.c.d.e": false, "a.é": false,
	} {
		if got := action.WellFormed(c); got != want {
			t.Errorf("WellFormed(%q) = %v", c, got)
		}
	}
}

func TestCompareIsATotalOrderByRisk(t *testing.T) {
	all := action.All()
	slices.SortFunc(all, action.Compare)
	for i, a := range all {
		for j, b := range all {
			if got := action.Compare(a, b); sign(got) != sign(i-j) {
				t.Errorf("Compare(%q, %q) = %d, want the sign of %d", a, b, got, i-j)
			}
		}
		if i > 0 && action.RiskOf(all[i-1]) > action.RiskOf(a) {
			t.Errorf("%q sorts below %q", all[i-1], a)
		}
	}
	if action.Compare("repo.admin", "code.merge") <= 0 {
		t.Error("a class that every posture forbids must outrank one that some allow")
	}
	if action.Compare("no.such.class", "account.permission.change") <= 0 {
		t.Error("an unknown class must count as the most powerful")
	}
}

func TestRiskWords(t *testing.T) {
	for r, want := range map[action.Risk]string{action.Low: "low", action.Medium: "medium",
		action.High: "high", action.Critical: "critical", 0: "critical"} {
		if r.String() != want {
			t.Errorf("Risk(%d) = %q, want %q", r, r, want)
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}
