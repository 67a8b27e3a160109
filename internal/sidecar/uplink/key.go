package uplink

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"os"

	"firma/internal/fault"
)

// LoadPublicKey reads an Authority's public key: exactly 32 raw bytes.
func LoadPublicKey(path string) (ed25519.PublicKey, error) {
	const name, fix = "ConfigValidation", "set public_key_path in [sidecar.authority] to the .pub file beside the Authority's key"
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(err, name, "the Authority's public key "+path+" cannot be read", fix)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, ed25519.PublicKeySize+1))
	if err != nil {
		return nil, fault.Wrap(err, name, "the Authority's public key "+path+" cannot be read", fix)
	}
	if len(data) != ed25519.PublicKeySize {
		return nil, fault.New(name, fmt.Sprintf("%s is not %d bytes long", path, ed25519.PublicKeySize), fix)
	}
	return data, nil
}
