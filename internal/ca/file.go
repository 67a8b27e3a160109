package ca

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"firma/internal/fault"
)

// The files of an authority that is kept (the contract's names).
const (
	CertFile = "firma-ca.crt"
	KeyFile  = "firma-ca.key"
)

const faultName = "CAInvalid"

// maxFile bounds either file, in bytes.
const maxFile = 64 << 10

// Create makes a new authority in dir, which is made with mode 0700 if it does
// not exist: firma-ca.crt (0644) and firma-ca.key (0600). Neither may exist yet.
func Create(dir string) (*CA, error) {
	c, err := New(FileLifetime)
	if err != nil {
		return nil, fault.Wrap(err, faultName, "a certificate authority could not be made", "run again")
	}
	_, key, err := c.DER()
	if err != nil {
		return nil, fault.Wrap(err, faultName, "a certificate authority could not be made", "run again")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(err, faultName, dir+" could not be made", "make it yourself, with mode 0700")
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{{KeyFile, keyPEM, 0o600}, {CertFile, c.CertPEM(), 0o644}} {
		if err := writeNew(filepath.Join(dir, f.name), f.data, f.mode); err != nil {
			return nil, fault.Wrap(err, faultName, filepath.Join(dir, f.name)+" could not be written", "see what is there; `firma ca rotate` replaces a pair")
		}
	}
	return c, nil
}

// writeNew writes a file in whole or not at all, and never over another.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// LoadOrCreate is Load, and Create where neither file exists. Of several
// processes that make it at once, one does and the others read what it wrote.
func LoadOrCreate(dir string) (*CA, error) {
	if missing(filepath.Join(dir, CertFile)) && missing(filepath.Join(dir, KeyFile)) {
		c, err := Create(dir)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return c, err
		}
	}
	return Load(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile))
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Load reads an authority from its two files. Both must be regular files, not
// links; the key must be its owner's alone, who must be this process's user. They
// are never repaired and never made again. The error is the fault CAInvalid.
func Load(certPath, keyPath string) (*CA, error) {
	certPEM, err := read(certPath, false)
	if err != nil {
		return nil, err
	}
	keyPEM, err := read(keyPath, true)
	if err != nil {
		return nil, err
	}
	cert, err := block(certPEM, "CERTIFICATE")
	if err != nil {
		return nil, broken(certPath, err)
	}
	key, err := keyBlock(keyPEM)
	if err != nil {
		return nil, broken(keyPath, err)
	}
	c, err := FromDER(cert, key)
	if err != nil {
		return nil, broken(certPath+" with "+keyPath, err)
	}
	return c, nil
}

func broken(what string, err error) error {
	return fault.Wrap(err, faultName, what+" is no usable certificate authority", "restore the pair, or make a new one with `firma ca rotate`")
}

func block(text []byte, kind string) ([]byte, error) {
	b, rest := pem.Decode(text)
	if b == nil || b.Type != kind {
		return nil, errors.New("no PEM block of type " + kind)
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one PEM block")
	}
	return b.Bytes, nil
}

// keyBlock returns the key as SEC 1, which may be stored as PKCS #8.
func keyBlock(text []byte) ([]byte, error) {
	if der, err := block(text, "EC PRIVATE KEY"); err == nil {
		return der, nil
	}
	der, err := block(text, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is no ECDSA key")
	}
	return x509.MarshalECPrivateKey(ec)
}

// read opens path once and judges what it opened.
func read(path string, secret bool) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fault.Wrap(err, faultName, path+" can't be read", "check its path, owner and mode; it must be a file, not a link")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(err, faultName, path+" can't be inspected", "check the disk")
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fault.New(faultName, path+" is not a regular file", "name the file itself")
	case !ownedByUs(info):
		return nil, fault.New(faultName, path+" belongs to another account", "run as its owner, or make a pair of your own with `firma ca rotate`")
	case tooOpen(info, secret):
		return nil, fault.New(faultName, fmt.Sprintf("%s has mode %#o: other accounts can use it", path, info.Mode().Perm()),
			"run `chmod go-rwx "+path+"` for the key, `chmod go-w` for the certificate; if others had access, `firma ca rotate`")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(data) > maxFile {
		return nil, broken(path, errors.Join(err, errors.New("it is too large or can't be read")))
	}
	return data, nil
}
