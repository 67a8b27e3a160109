package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"firma/internal/fault"
)

func TestGenerateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "audit-key.pem")
	key, err := GenerateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	public, err := LoadPublicKey(path + PublicSuffix)
	if err != nil || !public.(*ecdsa.PublicKey).Equal(key.Public()) {
		t.Errorf("public file does not match: %v", err)
	}
	again, err := GenerateKey(path)
	if err != nil || again.ID() != key.ID() {
		t.Errorf("a second GenerateKey made another key: %v", err)
	}
	remove(t, path+PublicSuffix)
	if _, err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadPublicKey(path + PublicSuffix); err != nil {
		t.Errorf("the public file was not made again: %v", err)
	}
}

func TestGenerateKeyRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "audit-key.pem")
	made := make([]*Key, 16)
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = GenerateKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range made {
		if k == nil || k.ID() != made[0].ID() {
			t.Fatal("the winners differ")
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 2 {
		t.Errorf("the directory holds %v, %v; want the key and its public half", left, err)
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make  func(path string) error
		fault string
	}{
		"missing":   {func(string) error { return nil }, "AuditKeyMissing"},
		"group":     {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o640)) }, "AuditKeyUnsafe"},
		"others":    {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o604)) }, "AuditKeyUnsafe"},
		"link":      {func(p string) error { return os.Symlink(path, p) }, "AuditKeyUnsafe"},
		"directory": {func(p string) error { return os.Mkdir(p, 0o700) }, "AuditKeyUnsafe"},
		"empty":     {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "AuditKeyInvalid"},
		"public":    {func(p string) error { return copyFile(path+PublicSuffix, p) }, "AuditKeyInvalid"},
		"P-384":     {func(p string) error { return writePEM(p, must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))) }, "AuditKeyInvalid"},
		"RSA":       {func(p string) error { return writePEM(p, must(rsa.GenerateKey(rand.Reader, 2048))) }, "AuditKeyInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "key.pem")
			if err := c.make(p); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadKey(p); fault.NameOf(err) != c.fault {
				t.Errorf("LoadKey: %v, want %s", err, c.fault)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, text, 0o600))
}

func writePEM(path string, key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func TestKeysDoNotPrint(t *testing.T) {
	for _, k := range []*Key{testKey(), edKey(t)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, k); !strings.HasPrefix(got, "audit key ") || len(got) != len("audit key ")+64 {
				t.Errorf(verb+" prints %s", k, got)
			}
		}
	}
}

// A log signed with Ed25519, and one of a key that was rotated since, verify.
func TestOtherKeys(t *testing.T) {
	o := testOptions(t)
	o.Key = edKey(t)
	writeLog(t, o, 3)
	v := o.verify()
	wantStatus(t, mustVerify(t, v), StatusSealed)
	v.Key = testKey().Public()
	wantStatus(t, mustVerify(t, v), StatusTampered)
	v.OldKeys = append(v.OldKeys, o.Key.Public())
	wantStatus(t, mustVerify(t, v), StatusSealed)
	v.Key = nil
	if _, err := Verify(v); fault.NameOf(err) != "AuditKeyInvalid" {
		t.Errorf("Verify without a key: %v", err)
	}
}

// Files and directories of other users are refused. Only root can set this up.
func TestOtherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give a file away")
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if _, err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); fault.NameOf(err) != "AuditKeyUnsafe" {
		t.Errorf("LoadKey: %v", err)
	}
	o := testOptions(t)
	mkdir(t, &o, 0o700)
	if err := os.Chown(filepath.Dir(o.Path), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); fault.NameOf(err) != "AuditUnavailable" {
		t.Errorf("Open: %v", err)
	}
	if _, err := GenerateKey(filepath.Join(filepath.Dir(o.Path), "key.pem")); fault.NameOf(err) != "AuditKeyUnwritable" {
		t.Errorf("GenerateKey: %v", err)
	}
}

// FuzzParseKey: a text that is taken for a key is one: what it signs, its public half
// verifies, also after that was written and read again.
func FuzzParseKey(f *testing.F) {
	for _, secret := range []any{ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), mustP256(f)} {
		der, err := x509.MarshalPKCS8PrivateKey(secret)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		public, err := x509.MarshalPKIXPublicKey(secret.(crypto.Signer).Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if public, err := ParsePublicKey("f", text); err == nil {
			if _, err := newPublicKey(public); err != nil {
				t.Fatal(err)
			}
		} else if fault.NameOf(err) != "AuditKeyInvalid" {
			t.Fatal(err)
		}
		key, err := ParseKey("f", text)
		if err != nil {
			if fault.NameOf(err) != "AuditKeyInvalid" {
				t.Fatal(err)
			}
			return
		}
		sig, err := key.sign([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePublicKey("f", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if err != nil {
			t.Fatal(err)
		}
		public, err := newPublicKey(again)
		if err != nil || public.id != key.ID() || !public.verify([]byte("x"), sig) || public.verify([]byte("y"), sig) {
			t.Fatalf("%v: %v", key, err)
		}
	})
}

func mustP256(f *testing.F) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return key
}
