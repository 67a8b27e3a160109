package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"firma/internal/fault"
)

const faultName = "AuthorityKeyInvalid"

// PublicPath returns the file that sits beside the private key at path:
// "x.key" has "x.pub", any other name has ".pub" added.
func PublicPath(path string) string { return strings.TrimSuffix(path, ".key") + ".pub" }

// Generate writes a new key as 64 raw bytes (seed, then public key) to path with
// mode 0600, and its public half as 32 raw bytes beside it. It overwrites
// neither file, and leaves neither behind when it fails.
func Generate(path string) (ed25519.PublicKey, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := create(path, key, 0o600); err != nil {
		return nil, notWritten(path, err)
	}
	if err := create(PublicPath(path), pub, 0o644); err != nil {
		_ = os.Remove(path)
		return nil, notWritten(PublicPath(path), err)
	}
	return pub, nil
}

func notWritten(path string, err error) error {
	fix := "choose a directory you can write to"
	if errors.Is(err, fs.ErrExist) {
		fix = "a key is never overwritten: move the old file away, or name another with -o"
	}
	return fault.Wrap(err, faultName, "the key file "+path+" was not written", fix)
}

// create writes data to a file that did not exist, durably.
func create(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// Load reads a private key written by Generate. It refuses a file that another
// account may read or write, and one whose halves do not belong together.
func Load(path string) (*Signer, error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fault.Wrap(err, faultName, "the signing key "+path+" cannot be read",
			"make one with `firma authority generate-key -o "+path+"`, or set key_file in [authority]")
	}
	defer f.Close()
	if err := private(f); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, ed25519.PrivateKeySize+1))
	if err != nil {
		return nil, fault.Wrap(err, faultName, "the signing key "+path+" cannot be read", "check the disk")
	}
	return parse(path, data)
}

func parse(path string, data []byte) (*Signer, error) {
	const fix = "restore the file from a backup, or make a new key with `firma authority generate-key`"
	if len(data) != ed25519.PrivateKeySize {
		return nil, fault.New(faultName, path+" is not 64 bytes long", fix)
	}
	key := ed25519.NewKeyFromSeed(data[:ed25519.SeedSize])
	if !bytes.Equal(key, data) {
		return nil, fault.New(faultName, "the two halves of "+path+" do not belong together", fix)
	}
	return &Signer{key}, nil
}

// private checks the opened file, not the path, so nothing can be swapped in
// between. Windows keeps its rights elsewhere and is not checked.
func private(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fault.New(faultName, f.Name()+" is not a regular file", "name the key file itself in key_file")
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return fault.New(faultName, fmt.Sprintf("%s has mode %#o: other accounts can use the key", f.Name(), mode),
			"run `chmod 600 "+f.Name()+"`; if others had access, make a new key")
	}
	return nil
}
