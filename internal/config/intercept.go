package config

// InterceptDefaults are the hosts that are looked into where intercept_hosts is
// not set (the contract's list): model providers, GitHub and other services whose
// calls differ by method and path. Hosts that mapping rules tell apart so come on
// top.
var InterceptDefaults = []string{
	"chatgpt.com", "auth.openai.com", "api.openai.com",
	"api.anthropic.com", "platform.claude.com", "claude.ai", "console.anthropic.com", "downloads.claude.ai",
	"openrouter.ai", "api.groq.com", "api.mistral.ai", "api.cohere.com",
	"generativelanguage.googleapis.com", "aiplatform.googleapis.com",
	"api.deepseek.com", "api.together.xyz", "api.fireworks.ai", "api.replicate.com", "api.perplexity.ai", "api.x.ai",
	"api.supabase.com", "*.supabase.co", "api.resend.com", "api.twilio.com", "api.sendgrid.com", "api.stripe.com",
	"api.slack.com", "hooks.slack.com",
	"github.com", "api.github.com", "uploads.github.com",
}

// Looks reports whether any TLS connection is looked into.
func (m *HTTPSMitm) Looks() bool { return m.Enabled == nil || *m.Enabled }
