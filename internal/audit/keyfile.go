package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"firma/internal/fault"
)

const maxKeyFile = 16 << 10 // bytes; a PEM key has a few hundred

// PublicSuffix is added to the path of a key for the file with its public half.
const PublicSuffix = ".pub.pem"

// GenerateKey returns the key at path, and makes a P-256 key there when there is
// none: mode 0600, complete from the moment it exists. Of several processes that
// race one wins, and all return its key. The public half is at
// path + PublicSuffix. A missing directory is made with mode 0700.
func GenerateKey(path string) (*Key, error) {
	key, err := LoadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createKey(path); err != nil {
			return nil, keyFileError(err, path)
		}
		key, err = LoadKey(path)
	}
	if err != nil {
		return nil, err
	}
	if err := writePublic(path+PublicSuffix, key.Public()); err != nil {
		return nil, keyFileError(err, path+PublicSuffix)
	}
	return key, nil
}

func keyFileError(err error, path string) error {
	return fault.Wrap(err, "AuditKeyUnwritable", "the audit key cannot be written to "+path,
		"make its directory writable for the user that runs firma, and for nobody else")
}

func createKey(path string) error {
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	tmp, err := writeTemp(dir, text, 0o600, true)
	if err != nil {
		return err
	}
	defer dir.Remove(tmp)
	// A hard link, unlike a rename, never replaces the key of a faster process.
	if err := dir.Link(tmp, filepath.Base(path)); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func writePublic(path string, key crypto.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if old, err := os.ReadFile(path); err == nil && string(old) == string(text) {
		return nil
	}
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	tmp, err := writeTemp(dir, text, 0o644, true)
	if err != nil {
		return err
	}
	return dir.Rename(tmp, filepath.Base(path))
}

// LoadKey reads the PKCS#8 PEM key at path. The file must be a regular file, not
// a symbolic link, owned by the user of this process and closed to all others.
func LoadKey(path string) (*Key, error) {
	text, err := readOwned(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(err, "AuditKeyMissing", "there is no audit key at "+path,
			"Make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "+path+" && chmod 600 "+path)
	}
	if err != nil {
		return nil, fault.Wrap(err, "AuditKeyUnsafe", "the audit key "+path+" is not safe to use",
			"It must be a regular file of the user that runs firma, with mode 0600: chmod 600 "+path)
	}
	return ParseKey(path, text)
}

func readOwned(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if err := ownedByUs(info); err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, errors.New("its mode " + info.Mode().String() + " lets others use it")
	}
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// LoadPublicKey reads the PEM public key at path.
func LoadPublicKey(path string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, "AuditKeyMissing", "the public audit key "+path+" cannot be read",
			"Give the path of a PEM public key; firma writes one beside each key it makes, as KEY"+PublicSuffix+".")
	}
	return ParsePublicKey(path, text)
}
