package enforce

import (
	"slices"
	"strconv"
	"strings"

	"firma/internal/action"
	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/policy"
)

// gitContext describes a git smart-HTTP request (gitprotocol-http(5)) for
// policies, nil for any other call; path is one reading of the call's. The owner is
// all that stands before the repository: some hosts nest groups. The refs of a push
// follow one by one; a tunnel shows nothing of it.
func gitContext(c *intent.Call, path string) *policy.Git {
	op := ""
	repo := strings.TrimSuffix(path, "/")
	switch {
	case cutSuffix(&repo, "/git-upload-pack"):
		op = "read"
	case cutSuffix(&repo, "/git-receive-pack"):
		op = "write"
	case strings.Contains(c.RawQuery, "service=git-") && cutSuffix(&repo, "/info/refs"):
		op = "read"
	default:
		return nil
	}
	at := strings.LastIndexByte(repo, '/')
	g := &policy.Git{Owner: strings.TrimPrefix(repo[:max(at, 0)], "/"), Repo: strings.TrimSuffix(repo[at+1:], ".git"), Operation: op}
	if c.Host == "github.com" || c.Host == "api.github.com" {
		g.Provider = "github"
	}
	return g
}

func cutSuffix(s *string, suffix string) bool {
	rest, ok := strings.CutSuffix(*s, suffix)
	*s = rest
	return ok
}

// classOf raises a push that removes a ref from code.write to code.destructive.
// One whose commands were not read is taken for the worst it can be.
func classOf(c *intent.Call, mapped action.Class) action.Class {
	if mapped != "code.write" || !c.IsPush() {
		return mapped
	}
	if c.Push != nil && !slices.ContainsFunc(c.Push.Updates, func(u gitpush.Update) bool { return u.Delete }) {
		return mapped
	}
	return "code.destructive"
}

// evaluateRefs asks about each ref that a push changes. The first that is not
// allowed decides; what the answers demand adds up.
func evaluateRefs(b *policy.Bundle, req policy.Request, c *intent.Call) policy.Result {
	if c.Push == nil || len(c.Push.Updates) == 0 || req.Context.Git == nil {
		return b.Evaluate(req)
	}
	git := *req.Context.Git
	var out policy.Result
	for i, u := range c.Push.Updates {
		git := git
		git.Ref, git.RefType = u.Ref, u.Type()
		if u.Delete {
			git.Operation = "delete"
		}
		req.Context.Git = &git
		res := b.Evaluate(req)
		if !res.Outcome.Dispatches() {
			return res
		}
		if i == 0 {
			out = res
		} else {
			out = both(out, res)
		}
	}
	return out
}

// maxRefsInfo bounds how many refs one event names.
const maxRefsInfo = 16

// pushInfo is what the event of a push says about it: refs are no secrets of the
// destination, and what a push did is the question people ask the log.
func pushInfo(c *intent.Call) []string {
	if c.Push == nil {
		return nil
	}
	info := []string{"git_updates", strconv.Itoa(len(c.Push.Updates))}
	for i, u := range c.Push.Updates {
		if i == maxRefsInfo {
			break
		}
		what := "update"
		switch {
		case u.Delete:
			what = "delete"
		case u.Create:
			what = "create"
		}
		info = append(info, "git_ref:"+bounded(u.Ref), what)
	}
	return info
}
