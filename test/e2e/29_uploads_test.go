package e2e

import "testing"

// TestRefusedUploads: curl, Python's requests and node's fetch, which ignores the proxy,
// read the refusal of an upload that they are in the middle of, every time.
func TestRefusedUploads(t *testing.T) {
	everyone(t, func(t *testing.T, s *stage) {
		limited := s.looking(t, settings{more: "[sidecar.interceptor]\nmax_request_body_size = \"1MiB\"\n"})
		for _, tt := range []struct{ url, status, config, reason, resource string }{
			{"http://evil.test/x", "403", s.config, "PolicyDenied", "evil.test/x"},
			{"https://plain.test/x", "413", limited, "RequestBodyTooLarge", "plain.test"},
		} {
			for _, client := range []string{"curl", "requests", "fetch"} {
				p := run("bash", "uploads.sh", client, tt.url)
				p.flags, p.config = []string{"--quiet"}, tt.config
				r := s.run(t, p).wantCode(t, 0)
				if want := "20 " + tt.status + "\n"; r.out != want {
					t.Errorf("%s, %s: the agent saw %q, want %q; %s", client, tt.url, r.out, want, r.err)
				}
				wantRecorded(t, r.events(t), 20, pattern("", "DENY", tt.reason, tt.resource))
			}
		}
	})
}
