package profile

import (
	"strings"
	"testing"
)

// TestKeyNote: who has a key for the agent and passes none is told, and nobody else.
func TestKeyNote(t *testing.T) {
	for _, c := range []struct {
		name, command string
		p             Profile
		told          bool
	}{
		{"held", "/opt/bin/codex", Profile{Name: Codex}, true},
		{"another agent's", "claude", Profile{Name: Codex}, false},
		{"no agent", "curl", Profile{Name: Generic}, false},
		{"passed", "codex", Profile{Name: "mine", Base: Codex, EnvPass: []string{"OPENAI_API_KEY"}, EnvAllowSecret: []string{"OPENAI_API_KEY"}}, false},
		{"another is passed", "codex", Profile{Name: "mine", Base: Codex, EnvSet: map[string]string{"CODEX_API_KEY": "x"}, EnvAllowSecret: []string{"CODEX_API_KEY"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := host(t)
			h.Command = c.command
			notes := strings.Join(resolve(t, c.p, h).Notes, "\n")
			if strings.Contains(notes, "OPENAI_API_KEY") != c.told || strings.Contains(notes, "sk-1") {
				t.Errorf("notes: %q", notes)
			}
		})
	}
}

// TestCodexSettings: codex finds that neither its own sandbox nor its background server is to be used.
func TestCodexSettings(t *testing.T) {
	for _, f := range resolve(t, Profile{Name: Generic}, host(t)).Spec.Files {
		if f.Path == "/etc/codex/config.toml" && strings.Contains(string(f.Data), "\nsandbox_mode = \"danger-full-access\"\n") && strings.Contains(string(f.Data), "daemon_auto_start = false\n") {
			return
		}
	}
	t.Error("no /etc/codex/config.toml")
}
