package instruct

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"firma/internal/capability"
	"firma/internal/fault"
)

// Seeds reads the readable halves of pre-staged capabilities. Nothing in them is
// believed: a Sidecar refuses a seed whose two halves differ.
func Seeds(paths []string) ([]capability.Seed, error) {
	var all []capability.Seed
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fault.Wrap(err, "CapabilityFileUnreadable", "the capability seed "+path+" can't be read",
				"issue one with `firma authority issue --agent-id ID --session-id ID --action CLASS --output "+path+"`, or correct the path")
		}
		s, err := capability.ParseSeed(path, data)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// SessionOf returns the one session, and its agent, that the seeds are for; want
// chooses among several. Without seeds there is neither.
func SessionOf(seeds []capability.Seed, want string) (session, agent string, err error) {
	sessions, agents := map[string]bool{}, map[string]bool{}
	for _, s := range seeds {
		sessions[s.SessionID] = true
		if want == "" || s.SessionID == want {
			session, agent = s.SessionID, s.AgentID
			agents[s.AgentID] = true
		}
	}
	invalid := func(text, fix string) (string, string, error) {
		return "", "", fault.New("CapabilitySeedInvalid", text, fix)
	}
	switch {
	case len(seeds) == 0:
		return "", "", nil
	case session == "":
		return invalid("no capability seed is for the session "+want+" of FIRMA_RUN_SESSION_ID",
			"issue one with --session-id "+want+", or set the variable to one of: "+names(sessions))
	case want == "" && len(sessions) > 1:
		return invalid("the capability seeds are for several sessions: "+names(sessions),
			"choose one with FIRMA_RUN_SESSION_ID, or name one seed with --capability-file")
	case len(agents) > 1:
		return invalid(fmt.Sprintf("the capability seeds of session %s are for several agents: %s", session, names(agents)), "issue them for one agent")
	}
	return session, agent, nil
}

func names(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), ", ") }
