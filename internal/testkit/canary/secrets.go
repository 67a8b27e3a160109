package canary

import (
	"crypto/rand"
	"fmt"
)

// Secrets are the files of a home directory that hold what an agent must not
// read, each with the canary in the shape such a file has. Names are relative to
// the home.
func Secrets(canary string) map[string]string {
	return map[string]string{
		"canary.txt":                          canary + "\n",
		".ssh/id_ed25519":                     "-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary + "\n-----END OPENSSH PRIVATE KEY-----\n",
		".ssh/config":                         "# " + canary + "\n",
		".ssh/known_hosts":                    "# " + canary + "\n",
		".aws/credentials":                    "[default]\naws_secret_access_key = " + canary + "\n",
		".gnupg/private-keys-v1.d/key":        canary + "\n",
		".netrc":                              "machine allowed.test login a password " + canary + "\n",
		".git-credentials":                    "https://a:" + canary + "@git.test\n",
		".config/gh/hosts.yml":                "oauth_token: " + canary + "\n",
		".config/gcloud/credentials.db":       canary + "\n",
		".azure/accessTokens.json":            "\"" + canary + "\"\n",
		".docker/config.json":                 "{\"auths\":{\"x\":{\"auth\":\"" + canary + "\"}}}\n",
		".kube/config":                        "token: " + canary + "\n",
		".npmrc":                              "//npm.test/:_authToken=" + canary + "\n",
		".pypirc":                             "password = " + canary + "\n",
		".cargo/credentials.toml":             "token = \"" + canary + "\"\n",
		".config/pip/pip.conf":                "[global]\nindex-url = https://a:" + canary + "@pip.test/\n",
		".bash_history":                       "export TOKEN=" + canary + "\n",
		".zsh_history":                        "export TOKEN=" + canary + "\n",
		".mozilla/firefox/p/cookies.sqlite":   canary + "\n",
		".config/google-chrome/Default/Login": canary + "\n",
		".local/share/keyrings/login.keyring": canary + "\n",
		".password-store/a.gpg":               canary + "\n",
		".claude/.credentials.json":           "\"" + canary + "\"\n",
		".codex/auth.json":                    "\"" + canary + "\"\n",
		".vault-token":                        canary + "\n",
		".config/op/config":                   canary + "\n",
		".terraform.d/credentials.tfrc.json":  "\"" + canary + "\"\n",
	}
}

// Value returns a new random value that no file, variable or process has by
// chance: 20 letters and digits.
func Value() string { return "cnry" + rand.Text()[:16] }

// Backwards returns a canary in the form in which it is told to a searcher, so
// that the searcher's own arguments are not what it finds.
func Backwards(canary string) string {
	b := []byte(canary)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// String tells a hit as a failure message needs it.
func (h Hit) String() string {
	return fmt.Sprintf("%s from %q: %q", h.Bait, h.Peer, h.Payload)
}
