package trust

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"software.sslmate.com/src/go-pkcs12"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// javaStores are where JDKs keep their trust store: Java reads no variable for it.
var javaStores = []string{
	"/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts",
	"/usr/lib/jvm/*/lib/security/cacerts", "/usr/lib/jvm/*/jre/lib/security/cacerts",
}

// java puts a trust store of the bundle over each that the sandbox shows, if any.
// It is PKCS #12 without a password (RFC 7292), as JDK 18 and later ship it and
// every JDK of the last years reads it.
func java(spec *sandbox.Spec, merged []byte) error {
	var shown []string
	seen := map[string]bool{}
	for _, pattern := range javaStores {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		for _, p := range append(found, os.Getenv("JAVA_HOME")+"/lib/security/cacerts") {
			real, err := filepath.EvalSymlinks(p)
			if err == nil && !seen[real] && spec.Covered(real) {
				shown = append(shown, real)
			}
			seen[real] = true
		}
	}
	if len(shown) == 0 {
		return nil
	}
	store, err := trustStore(merged)
	if err != nil {
		return fault.Wrap(err, "SystemRootsMissing", "no trust store for Java could be made of the root certificates", "check the host's bundle with `openssl storeutl -certs`")
	}
	for _, p := range shown {
		spec.Files = append(spec.Files, sandbox.File{Path: p, Data: store, Over: true})
	}
	return nil
}

func trustStore(merged []byte) ([]byte, error) {
	var entries []pkcs12.TrustStoreEntry
	for block, rest := pem.Decode(merged); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		// Only the bytes are written; parsing a hundred and more certificates would
		// be most of the cost.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: &x509.Certificate{Raw: block.Bytes}, FriendlyName: fmt.Sprintf("root %d", len(entries))})
	}
	return pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
}
