package escape

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/ca"
)

// keptCA is an authority behind interception whose key the suite knows, and a
// configuration that uses it.
type keptCA struct {
	config, dir string
	text        string // a line of the key's file; the control channel carries it as well
	raw         string // "hex=" and the secret number itself
}

func newKeptCA(t *testing.T, y *yard, config string) keptCA {
	t.Helper()
	k := keptCA{config: filepath.Join(y.Base, "kept.toml"), dir: filepath.Join(y.Base, "ca")}
	c, err := ca.Create(k.dir)
	must(t, err)
	must(t, y.Account.OwnTree(k.dir))
	_, der, err := c.DER()
	must(t, err)
	key, err := x509.ParseECPrivateKey(der)
	must(t, err)
	secret, err := key.Bytes()
	must(t, err)
	k.raw = "hex=" + hex.EncodeToString(secret)
	k.text = base64.StdEncoding.EncodeToString(der[:48]) // 48 bytes are one line of PEM
	file, err := os.ReadFile(filepath.Join(k.dir, ca.KeyFile))
	must(t, err)
	if !strings.Contains(string(file), "\n"+k.text+"\n") {
		t.Fatal("the key's file has another form than the suite looks for")
	}
	must(t, os.WriteFile(k.config, []byte(config+"[sidecar.ca]\ndir = \"ca\"\n"), 0o644))
	return k
}
