package profile

import (
	"path/filepath"
	"strings"
)

// codexSettings are the lowest layer of codex's configuration; its flags and its
// other files win. Codex runs each command in a sandbox of its own, which needs
// namespaces that nothing in this one can make, and keeps a server in the background
// behind a socket of AF_UNIX: without this every command fails, and its screen ends
// before the first one.
const codexSettings = `# Made by firma, whose sandbox confines codex. Codex's own can't work inside it, and
# neither can its background server.
sandbox_mode = "danger-full-access"

[features]
daemon_auto_start = false
`

// agentKeys are the variables that coding agents take their credential from, by the
// name of their command.
var agentKeys = map[string][]string{
	"claude":   {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"},
	"codex":    {"CODEX_API_KEY", "OPENAI_API_KEY"},
	"copilot":  {"COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "COPILOT_PROVIDER_API_KEY"},
	"gemini":   {"GEMINI_API_KEY", "GOOGLE_API_KEY"},
	"opencode": {"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENCODE_API_KEY", "OPENROUTER_API_KEY"},
	"qwen":     {"OPENAI_API_KEY", "DASHSCOPE_API_KEY"},
}

// agents makes what coding agents look for.
func (v *View) agents() {
	v.Spec.Files = append(v.Spec.Files, file("/etc/codex/config.toml", "%s", codexSettings))
}

// keyNote says that the agent's key stays outside, when the caller has one and the
// agent gets none: all that the agent can say is that nobody is logged in.
func (v *View) keyNote(h Host) {
	name := filepath.Base(h.Command)
	var held []string
	for _, key := range agentKeys[name] {
		if lookupEnv(v.Env, key) != "" {
			return
		}
		if lookupEnv(h.Env, key) != "" {
			held = append(held, key)
		}
	}
	if len(held) > 0 {
		v.Notes = append(v.Notes, name+" gets none of your "+strings.Join(held, ", ")+": a profile passes a key that it names in env_passthrough and env_allow_secret (docs/guides/agents.md)")
	}
}
