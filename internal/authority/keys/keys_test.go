package keys

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/wire"
)

func TestPublicPath(t *testing.T) {
	for path, want := range map[string]string{
		"authority.key": "authority.pub", "/a/b.key": "/a/b.pub", "authority": "authority.pub", "x.pem": "x.pem.pub",
	} {
		if got := PublicPath(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.key")
	pub, err := Generate(good)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(good)
	if err != nil || !s.Public().Equal(pub) {
		t.Fatalf("%v %v", s, err)
	}
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	mixed := append(bytes.Clone(data[:32]), make([]byte, 32)...)
	tests := map[string]struct {
		data []byte
		mode os.FileMode
		text string
	}{
		"short":          {data[:63], 0o600, "64 bytes"},
		"long":           {append(bytes.Clone(data), 0), 0o600, "64 bytes"},
		"only the seed":  {data[:32], 0o600, "64 bytes"},
		"empty":          {nil, 0o600, "64 bytes"},
		"mixed halves":   {mixed, 0o600, "two halves"},
		"group readable": {data, 0o640, "other accounts"},
		"world readable": {data, 0o604, "other accounts"},
		"group writable": {data, 0o620, "other accounts"},
	}
	for name, tt := range tests {
		if runtime.GOOS == "windows" && tt.mode != 0o600 {
			continue
		}
		path := filepath.Join(t.TempDir(), "x.key")
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		s, err := Load(path)
		if s != nil || fault.NameOf(err) != faultName || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(t.TempDir()); fault.NameOf(err) != faultName {
		t.Errorf("a directory: %v", err)
	}
}

// A token signed here verifies with the public half, a proof too, and neither
// passes for the other.
func TestSigner(t *testing.T) {
	s, err := Ephemeral()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	raw, err := s.Token(capability.Claims{TokenID: "ctok_1", AgentID: "a", SessionID: "s", ActionSet: []string{"code.read"},
		ResourceScope: "*", IssuedAt: now, Expiry: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := capability.Verify(s.Public(), raw, now, 0); err != nil {
		t.Error(err)
	}
	nonce := wire.NewNonce()
	if !wire.VerifyProof(s.Public(), nonce, "[::1]:1", s.Prove(nonce, "[::1]:1")) {
		t.Error("the proof does not verify")
	}
	for _, bad := range []string{"", "x", raw, nonce + "\n", strings.ToUpper(nonce[:63] + "a")} {
		if sig := s.Prove(bad, "[::1]:1"); sig != nil {
			t.Errorf("%.20q was signed", bad)
		}
	}
}

func TestEphemeralKeysDiffer(t *testing.T) {
	a, _ := Ephemeral()
	b, _ := Ephemeral()
	if a.Public().Equal(b.Public()) || len(a.Public()) != ed25519.PublicKeySize {
		t.Error("two ephemeral keys are the same")
	}
}
