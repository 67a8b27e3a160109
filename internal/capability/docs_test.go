package capability

import (
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"firma/internal/intent"
)

// doc returns the page and its fenced blocks by their info string.
func doc(t *testing.T) (string, map[string][]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/capability-tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, m := range regexp.MustCompile("(?ms)^```([^\n]+)\n(.*?)^```$").FindAllStringSubmatch(string(b), -1) {
		blocks[m[1]] = append(blocks[m[1]], m[2])
	}
	return string(b), blocks
}

func TestDocPayload(t *testing.T) {
	_, blocks := doc(t)
	if len(blocks["json"]) != 1 {
		t.Fatalf("%d json blocks", len(blocks["json"]))
	}
	tok, err := Verify(pub, sealed(key, blocks["json"][0], "", ""), noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if tok.ResourceScope != "api.github.com/repos/acme" {
		t.Errorf("%+v", tok)
	}
}

func TestDocSeed(t *testing.T) {
	page, blocks := doc(t)
	if len(blocks["toml"]) != 1 {
		t.Fatalf("%d toml blocks", len(blocks["toml"]))
	}
	s, err := ParseSeed("docs", []byte(blocks["toml"][0]))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := hex.DecodeString(regexp.MustCompile("`([0-9a-f]{64})`").FindStringSubmatch(page)[1])
	if err != nil {
		t.Fatal(err)
	}
	tok, err := s.Token(ed25519.PublicKey(shown), noon.Add(time.Minute), 0)
	if err != nil {
		t.Fatal(err)
	}
	if string(NewSeed(tok).Marshal()) != blocks["toml"][0] {
		t.Errorf("the page does not show what is written:\n%s", NewSeed(tok).Marshal())
	}
}

func TestDocScopes(t *testing.T) {
	page, blocks := doc(t)
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(page[strings.Index(page, "| scope |"):strings.Index(page, "A port that is written")]) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		rows++
		s, err := ParseScope(strings.Trim(cells[1], " `"))
		if err != nil {
			t.Errorf("%s: %v", cells[1], err)
		}
		for want, cell := range map[bool]string{true: cells[2], false: cells[3]} {
			for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
				if got := s.Covers(docCall(t, m[1])); got != want {
					t.Errorf("%s covers %s: %t", s, m[1], got)
				}
			}
		}
	}
	if rows != 6 {
		t.Errorf("%d rows of the table were read", rows)
	}
	refused := strings.Fields(blocks["scope refused"][0])
	if len(refused) < 10 {
		t.Errorf("%d refused scopes were read", len(refused))
	}
	for _, s := range refused {
		if ValidScope(s) == nil {
			t.Errorf("%s is accepted", s)
		}
	}
}

func docCall(t *testing.T, s string) *intent.Call {
	t.Helper()
	if strings.Contains(s, "://") {
		return get(t, s)
	}
	return connect(t, s)
}

func TestDocNamesEveryClaim(t *testing.T) {
	page, _ := doc(t)
	for _, claim := range append([]string{"nbf", "budget_ceiling"}, required[:]...) {
		if !strings.Contains(page, "| `"+claim+"` | ") {
			t.Errorf("claim %s is not in the table", claim)
		}
	}
}
