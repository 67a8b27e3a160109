package escape

import (
	"net/http"
	"strings"
	"testing"

	"firma/internal/testkit/canary"
)

// G: credentials.
var credentialCases = []kase{
	{
		id: "G1", about: "the operator's secrets in environments, arguments, memory, files and descriptors",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("scan-proc", backwards(y)),
				try("scan-memory", backwards(y)).instead("scan-memory", backwards(y), y.sleeper).unless("EACCES"),
				try("scan-files", backwards(y), "/").instead("scan-files", backwards(y), y.Home),
			}
		},
	},
	{
		id: "G1-ca", about: "the key of the authority behind interception, in environments, memory, files and descriptors",
		flags: func(y *yard) []string { return []string{"--config", y.keptCA.config, "--allow", "allowed.test"} },
		tries: func(y *yard) []attempt {
			const beside = "the processes that hold it run only beside the sandbox"
			text, raw := canary.Backwards(y.keptCA.text), canary.Backwards(y.keptCA.raw)
			return []attempt{
				try("scan-files", text, "/").instead("scan-files", text, y.keptCA.dir),
				try("scan-files", raw, "/").noControl("the file holds it in another form"),
				try("scan-proc", text).noControl(beside),
				try("scan-memory", text).noControl(beside),
				try("scan-memory", raw).noControl(beside),
				try("http", proxy, "GET", "http://allowed.test/ca").expect(allowed),
			}
		},
	},
	{
		id: "G11", about: "tokens and identities of the agent's own making", flags: withConfig,
		tries: func(y *yard) []attempt {
			forged := []string{"X-Firma-Session-Id: sess", "X-Firma-Agent: root", "X-Firma-Sandbox-Id: sbx", "X-Firma-Capability: v4.public.AAAA",
				"Authorization: Bearer v4.public.AAAA", "X-Http-Method-Override: GET"}
			return []attempt{
				evil(y, try(append([]string{"http", proxy, "GET", "http://evil.test/"}, forged...)...)).audited("evil.test"),
				try(append([]string{"http", proxy, "GET", "http://allowed.test/forged"}, forged[:4]...)...).expect(allowed),
			}
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			for _, r := range y.origin.Requests("allowed.test") {
				for name := range r.Header {
					if strings.HasPrefix(http.CanonicalHeaderKey(name), "X-Firma-") {
						t.Errorf("ESCAPED     %s went upstream", name)
					}
				}
			}
		},
	},
}
