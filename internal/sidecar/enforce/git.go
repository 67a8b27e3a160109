package enforce

import (
	"strings"

	"firma/internal/intent"
	"firma/internal/policy"
)

// gitContext describes a git smart-HTTP request (gitprotocol-http(5)) for
// policies, nil for any other call. Refs are in the body and not known here; a
// tunnel shows nothing of it.
func gitContext(c *intent.Call) *policy.Git {
	repo, op := "", ""
	switch {
	case strings.HasSuffix(c.Path, "/git-upload-pack"):
		repo, op = strings.TrimSuffix(c.Path, "/git-upload-pack"), "read"
	case strings.HasSuffix(c.Path, "/git-receive-pack"):
		repo, op = strings.TrimSuffix(c.Path, "/git-receive-pack"), "write"
	case strings.HasSuffix(c.Path, "/info/refs") && strings.Contains(c.RawQuery, "service=git-"):
		repo, op = strings.TrimSuffix(c.Path, "/info/refs"), "read"
	default:
		return nil
	}
	owner, name, ok := strings.Cut(strings.TrimPrefix(repo, "/"), "/")
	if !ok || strings.Contains(name, "/") {
		return nil
	}
	g := &policy.Git{Owner: owner, Repo: strings.TrimSuffix(name, ".git"), Operation: op}
	if c.Host == "github.com" || c.Host == "api.github.com" {
		g.Provider = "github"
	}
	return g
}
