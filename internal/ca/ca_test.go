package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firma/internal/fault"
)

func fresh(t testing.TB) *CA {
	t.Helper()
	c, err := New(RunLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func leaves(t testing.TB, c *CA, capacity int, ttl time.Duration) *Leaves {
	t.Helper()
	l, err := c.Leaves(capacity, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestChain: clients that check accept a leaf for its host and nothing else.
func TestChain(t *testing.T) {
	c := fresh(t)
	l := leaves(t, c, 0, 0)
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate())
	for host, wrong := range map[string]string{
		"api.example.com": "example.com", "192.0.2.7": "192.0.2.8", "2001:db8::7": "2001:db8::8",
		strings.Repeat("a", 60) + ".example.com": "example.com", "xn--grn-hoa.example": "grn.example",
	} {
		leaf, err := l.For(host)
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: wrong, Roots: roots}); err == nil {
			t.Errorf("%s passes for %s", host, wrong)
		}
		if leaf.Leaf.NotAfter.After(c.Certificate().NotAfter) || leaf.Leaf.IsCA {
			t.Errorf("%s: lives longer than its issuer, or may issue", host)
		}
	}
}

// TestOpenSSLAgrees: a second implementation reads the chain, strictly.
func TestOpenSSLAgrees(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("this test needs openssl (apt-get install openssl)")
	}
	dir := t.TempDir()
	c := fresh(t)
	leaf, err := leaves(t, c, 0, 0).For("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"ca.pem": c.CertPEM(), "leaf.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.example.com",
		"-CAfile", filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaf.pem")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestHostileNames: what is no canonical host gets no certificate and takes no
// place in the cache.
func TestHostileNames(t *testing.T) {
	l := leaves(t, fresh(t), 4, 0)
	for _, host := range []string{"", "*.example.com", "API.example.com", "a.example.com.", strings.Repeat("x", 300), "a\x00.example.com", "a b", "0x7f.1", "[::1]", "::ffff:1.2.3.4%eth0"} {
		if cert, err := l.For(host); err == nil {
			t.Errorf("%q got a certificate for %v", host, cert.Leaf.DNSNames)
		}
	}
	if len(l.kept) != 0 {
		t.Errorf("%d entries", len(l.kept))
	}
}

func TestCacheIsBoundedAndAges(t *testing.T) {
	l := leaves(t, fresh(t), 2, time.Minute)
	now := time.Now()
	l.now = func() time.Time { return now }
	get := func(host string) string {
		c, err := l.For(host)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	a := get("a.test")
	now = now.Add(time.Second)
	get("b.test")
	now = now.Add(time.Second)
	if get("a.test") != a {
		t.Error("made again while it was fresh")
	}
	now = now.Add(time.Second)
	get("c.test") // b was not used for longest
	if len(l.kept) != 2 || l.kept["b.test"] != nil || get("a.test") != a {
		t.Errorf("%d entries", len(l.kept))
	}
	now = now.Add(time.Minute)
	if get("a.test") == a {
		t.Error("kept for longer than its time")
	}
}

// TestOneMintPerHost: connections that come together share one certificate.
func TestOneMintPerHost(t *testing.T) {
	l := leaves(t, fresh(t), 0, 0)
	var wg sync.WaitGroup
	serials := make([]string, 32)
	for i := range serials {
		wg.Go(func() {
			if c, err := l.For("a.test"); err == nil {
				serials[i] = c.Leaf.SerialNumber.String()
			}
		})
	}
	wg.Wait()
	for _, s := range serials {
		if s == "" || s != serials[0] {
			t.Fatalf("%q and %q", s, serials[0])
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := fresh(t)
	_, key, err := c.DER()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d := new(big.Int).SetBytes(raw).String()
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(s, d) || strings.Contains(s, fmt.Sprint(key)) {
			t.Errorf("prints its key: %s", s)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	made, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreate(dir)
	if err != nil || again.Fingerprint() != made.Fingerprint() {
		t.Fatalf("made again: %v", err)
	}
	if _, err := Create(dir); fault.NameOf(err) != "CAInvalid" {
		t.Errorf("written over: %v", err)
	}
	for name, want := range map[string]os.FileMode{".": 0o700, KeyFile: 0o600, CertFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestBadFiles: whatever is wrong with the pair, it is refused and left alone.
func TestBadFiles(t *testing.T) {
	other := fresh(t)
	_, otherKey, err := other.DER()
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384DER, err := x509.MarshalECPrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	expired, err := New(-time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := leaves(t, other, 0, 0).For("a.test")
	if err != nil {
		t.Fatal(err)
	}
	key := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}) }
	for name, spoil := range map[string]func(cert, key string) error{
		"no key":              func(_, k string) error { return os.Remove(k) },
		"no certificate":      func(c, _ string) error { return os.Remove(c) },
		"key of another":      func(_, k string) error { return os.WriteFile(k, key(otherKey), 0o600) },
		"key of another kind": func(_, k string) error { return os.WriteFile(k, key(p384DER), 0o600) },
		"empty key":           func(_, k string) error { return os.WriteFile(k, nil, 0o600) },
		"empty certificate":   func(c, _ string) error { return os.WriteFile(c, nil, 0o600) },
		"key readable":        func(_, k string) error { return os.Chmod(k, 0o640) },
		"certificate writable": func(c, _ string) error {
			return os.Chmod(c, 0o666)
		},
		"key is a link":         func(_, k string) error { return relink(k) },
		"certificate is a link": func(c, _ string) error { return relink(c) },
		"key is a directory":    func(_, k string) error { os.Remove(k); return os.Mkdir(k, 0o700) },
		"expired": func(c, k string) error {
			_, der, _ := expired.DER()
			os.WriteFile(c, expired.CertPEM(), 0o600)
			return os.WriteFile(k, key(der), 0o600)
		},
		"a leaf": func(c, k string) error {
			der, _ := x509.MarshalECPrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
			os.WriteFile(c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}), 0o600)
			return os.WriteFile(k, key(der), 0o600)
		},
		"two certificates": func(c, _ string) error {
			b, _ := os.ReadFile(c)
			return os.WriteFile(c, append(b, other.CertPEM()...), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			made, err := Create(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)); err != nil {
				t.Fatal(err)
			}
			got, err := LoadOrCreate(dir)
			if fault.NameOf(err) != "CAInvalid" {
				t.Fatalf("%v, %v", got, err)
			}
			var f *fault.Error
			if f, _ = err.(*fault.Error); f == nil || f.Fix == "" {
				t.Errorf("no fix: %v", err)
			}
			_ = made
		})
	}
}

func relink(path string) error {
	if err := os.Rename(path, path+".real"); err != nil {
		return err
	}
	return os.Symlink(path+".real", path)
}

func BenchmarkFor(b *testing.B) {
	l := leaves(b, fresh(b), 0, 0)
	for b.Loop() {
		if _, err := l.For("api.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzPair: of two texts that are taken for an authority, the key is the
// certificate's, whose it is to sign, and the certificate is written as it was read.
func FuzzPair(f *testing.F) {
	c, err := New(FileLifetime)
	if err != nil {
		f.Fatal(err)
	}
	_, key, err := c.DER()
	if err != nil {
		f.Fatal(err)
	}
	k, err := x509.ParseECPrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		f.Fatal(err)
	}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	f.Add(c.CertPEM(), sec1)
	f.Add(c.CertPEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	f.Add(append(c.CertPEM(), c.CertPEM()...), sec1)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"), []byte("x"))
	f.Fuzz(func(t *testing.T, certText, keyText []byte) {
		certDER, err := block(certText, "CERTIFICATE")
		if err != nil {
			return
		}
		keyDER, err := keyBlock(keyText)
		if err != nil {
			return
		}
		got, err := FromDER(certDER, keyDER)
		if (got == nil) == (err == nil) {
			t.Fatal("neither an authority nor an error, or both")
		}
		if err != nil {
			return
		}
		if !got.key.PublicKey.Equal(got.cert.PublicKey) || !got.cert.IsCA || got.cert.KeyUsage&x509.KeyUsageCertSign == 0 || time.Now().After(got.cert.NotAfter) {
			t.Fatalf("no authority: %v", got)
		}
		again, err := block(got.CertPEM(), "CERTIFICATE")
		if err != nil || !bytes.Equal(again, certDER) {
			t.Fatalf("written again it is another: %v", err)
		}
	})
}
