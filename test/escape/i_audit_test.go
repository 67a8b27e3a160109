package escape

import (
	"path/filepath"
	"testing"
)

// I: the audit log.
var auditCases = []kase{
	{
		id: "I1", about: "the audit log, its directory and its descriptors",
		prepare: func(t *testing.T, y *yard) {
			if *wall == "firma" {
				y.firma(t, kase{}, y.probe, "fds") // so that there is a log
			}
		},
		tries: func(y *yard) []attempt {
			all := []attempt{try("list", y.State), try("tree-write", y.State), try("create", filepath.Join(y.State, "planted")).noControl("would change what is snapshot")}
			return append(all, try("list", y.Runtime))
		},
	},
}
