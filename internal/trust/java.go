package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"software.sslmate.com/src/go-pkcs12"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// javaStores are where JDKs keep their trust store: Java reads no variable for it.
var javaStores = []string{
	"/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts",
	"/usr/lib/jvm/*/lib/security/cacerts", "/usr/lib/jvm/*/jre/lib/security/cacerts",
}

// java puts a trust store of the system's roots and cert over each that the
// sandbox shows, if any. It is PKCS #12 without a password (RFC 7292), as JDK 18
// and later ship it and every JDK of the last years reads it.
func java(spec *sandbox.Spec, system, cert []byte, cacheDir string) error {
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
	store, err := joinedStore(system, cert, cacheDir)
	if err != nil {
		return fault.Wrap(err, "SystemRootsMissing", "no trust store for Java could be made of the root certificates", "check the host's bundle with `openssl storeutl -certs`")
	}
	for _, p := range shown {
		spec.Files = append(spec.Files, sandbox.File{Path: p, Data: store, Over: true})
	}
	return nil
}

// joinedStore is the store of both. The part that is the same in every run is
// taken from cacheDir, since it costs more than all else of a run's trust.
func joinedStore(system, cert []byte, cacheDir string) ([]byte, error) {
	own, err := trustStore(cert, "firma")
	if err != nil || len(system) == 0 {
		return own, err
	}
	roots, err := cachedStore(system, cacheDir)
	if err != nil {
		return nil, err
	}
	return splice(roots, own)
}

// cachedStore makes the store of the system's roots, once per content. "" for
// cacheDir keeps nothing.
func cachedStore(system []byte, cacheDir string) ([]byte, error) {
	const prefix, suffix = "java-roots-", ".p12"
	sum := sha256.Sum256(system)
	path := filepath.Join(cacheDir, prefix+hex.EncodeToString(sum[:16])+suffix)
	if cacheDir != "" {
		if b, err := os.ReadFile(path); err == nil {
			if _, err := contents(b); err == nil {
				return b, nil
			}
		}
	}
	store, err := trustStore(system, "root")
	if err != nil || cacheDir == "" {
		return store, err
	}
	old, _ := filepath.Glob(filepath.Join(cacheDir, prefix+"*"+suffix))
	if keep(path, store) == nil { // a run without the cache only takes longer
		for _, p := range old {
			if p != path {
				os.Remove(p)
			}
		}
	}
	return store, nil
}

func keep(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".java-roots-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func trustStore(bundle []byte, name string) ([]byte, error) {
	var entries []pkcs12.TrustStoreEntry
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		// Only the bytes are written; parsing a hundred and more certificates would
		// cost as much again.
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: &x509.Certificate{Raw: block.Bytes}, FriendlyName: fmt.Sprintf("%s %d", name, len(entries))})
	}
	return pkcs12.Passwordless.EncodeTrustStoreEntries(entries, "")
}

var errStore = errors.New("a trust store is not what was written")

// idData is the content type of plain data (RFC 2315): 1.2.840.113549.1.7.1.
var idData = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01}

// contents returns the safes of a store without a password or a MAC: the bytes in
// the SEQUENCE of its AuthenticatedSafe (RFC 7292, section 4.1).
func contents(store []byte) ([]byte, error) {
	var pfx, info, wrapped, octets, safes cryptobyte.String
	var oid cryptobyte.String
	in := cryptobyte.String(store)
	ok := in.ReadASN1(&pfx, asn1.SEQUENCE) && in.Empty() &&
		pfx.SkipASN1(asn1.INTEGER) && pfx.ReadASN1(&info, asn1.SEQUENCE) && pfx.Empty() &&
		info.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) && string(oid) == string(idData) &&
		info.ReadASN1(&wrapped, asn1.Tag(0).ContextSpecific().Constructed()) && info.Empty() &&
		wrapped.ReadASN1(&octets, asn1.OCTET_STRING) && wrapped.Empty() &&
		octets.ReadASN1(&safes, asn1.SEQUENCE) && octets.Empty()
	if !ok {
		return nil, errStore
	}
	return safes, nil
}

// splice is the store that holds what both hold.
func splice(a, b []byte) ([]byte, error) {
	first, err := contents(a)
	if err != nil {
		return nil, err
	}
	second, err := contents(b)
	if err != nil {
		return nil, err
	}
	out := cryptobyte.NewBuilder(make([]byte, 0, len(a)+len(b)))
	out.AddASN1(asn1.SEQUENCE, func(pfx *cryptobyte.Builder) {
		pfx.AddASN1Int64(3)
		pfx.AddASN1(asn1.SEQUENCE, func(info *cryptobyte.Builder) {
			info.AddASN1(asn1.OBJECT_IDENTIFIER, func(o *cryptobyte.Builder) { o.AddBytes(idData) })
			info.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(w *cryptobyte.Builder) {
				w.AddASN1(asn1.OCTET_STRING, func(o *cryptobyte.Builder) {
					o.AddASN1(asn1.SEQUENCE, func(s *cryptobyte.Builder) {
						s.AddBytes(first)
						s.AddBytes(second)
					})
				})
			})
		})
	})
	return out.Bytes()
}
