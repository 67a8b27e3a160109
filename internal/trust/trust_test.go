package trust

import (
	"bytes"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firma/internal/ca"
	"firma/internal/sandbox"
)

func authority(t testing.TB) *ca.CA {
	t.Helper()
	c, err := ca.New(ca.RunLifetime)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func fileAt(s *sandbox.Spec, path string) *sandbox.File {
	for i := range s.Files {
		if s.Files[i].Path == path {
			return &s.Files[i]
		}
	}
	return nil
}

func TestApply(t *testing.T) {
	cert := authority(t).CertPEM()
	for mode, system := range map[string]bool{"": true, AppendSystemRoots: true, Sole: false} {
		spec := &sandbox.Spec{Mounts: []sandbox.Mount{{Source: "/etc/ssl/certs", Target: "/etc/ssl/certs"}}}
		env, err := Apply(spec, []string{"CURL_CA_BUNDLE=/mine", "PATH=/bin"}, cert, mode, "")
		if err != nil {
			t.Fatal(err)
		}
		place := Bundle
		for _, l := range spec.Symlinks {
			if l.Path == Bundle {
				place = l.Target
			}
		}
		bundle := fileAt(spec, place)
		if got := bytes.Count(bundle.Data, []byte("BEGIN CERTIFICATE")); (got > 1) != system || !bytes.HasSuffix(bundle.Data, cert) {
			t.Errorf("%q: %d certificates", mode, got)
		}
		if own := fileAt(spec, Own); !bytes.Equal(own.Data, cert) || own.Over {
			t.Errorf("%q: %+v", mode, own)
		}
		if f := fileAt(spec, "/etc/ssl/certs/ca-certificates.crt"); f == nil || !f.Over || !bytes.Equal(f.Data, bundle.Data) {
			t.Errorf("%q: the system's own bundle is left as it was", mode)
		}
		for _, kv := range []string{"CURL_CA_BUNDLE=/mine", "SSL_CERT_FILE=" + Bundle, "NODE_EXTRA_CA_CERTS=" + Own} {
			if !slices.Contains(env, kv) {
				t.Errorf("%q: no %s", mode, kv)
			}
		}
		if slices.Contains(env, "CURL_CA_BUNDLE="+Bundle) || !slices.IsSorted(env) {
			t.Errorf("%q: %q", mode, env)
		}
		for _, f := range spec.Files {
			if bytes.Contains(f.Data, []byte("PRIVATE KEY")) {
				t.Errorf("%q: %s holds a key", mode, f.Path)
			}
		}
	}
}

// TestNothingOverWhatIsNotShown: a place that the sandbox does not show needs no
// file, and can't have one.
func TestNothingOverWhatIsNotShown(t *testing.T) {
	spec := &sandbox.Spec{}
	if _, err := Apply(spec, nil, authority(t).CertPEM(), Sole, ""); err != nil {
		t.Fatal(err)
	}
	if len(spec.Files) != 2 {
		t.Errorf("%d files", len(spec.Files))
	}
}

// TestJavaReadsTheStore: the JDK itself lists the authority in a store that has
// no password.
func TestJavaReadsTheStore(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("this machine has no Java")
	}
	c := authority(t)
	roots, err := systemRoots()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	store, err := joinedStore(roots, c.CertPEM(), cache)
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := filepath.Glob(cache + "/*")
	if len(kept) != 1 {
		t.Fatalf("kept %q", kept)
	}
	for name, spoil := range map[string][]byte{"from the cache": nil, "from a broken cache": []byte("broken"), "from an empty one": {}} {
		if spoil != nil {
			if err := os.WriteFile(kept[0], spoil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if again, err := joinedStore(roots, c.CertPEM(), cache); err != nil || len(again) != len(store) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(again), len(store), err)
		}
	}
	path := filepath.Join(t.TempDir(), "cacerts")
	if err := os.WriteFile(path, store, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(keytool, "-list", "-keystore", path, "-storepass", "").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := strings.ToUpper(c.Fingerprint())
	if !strings.Contains(strings.ReplaceAll(string(out), ":", ""), want) || strings.Count(string(out), "trustedCertEntry") < 10 {
		t.Errorf("not in the list:\n%.600s", out)
	}
}

func BenchmarkApply(b *testing.B) {
	cert, cache := authority(b).CertPEM(), b.TempDir()
	for b.Loop() {
		spec := &sandbox.Spec{Mounts: []sandbox.Mount{{Source: "/etc/ssl/certs", Target: "/etc/ssl/certs"}}}
		if _, err := Apply(spec, nil, cert, "", cache); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzSplice: of what is taken for a store, two are joined into one that holds both and
// nothing else: also to another reader.
func FuzzSplice(f *testing.F) {
	one, err := trustStore(authority(f).CertPEM(), "one")
	if err != nil {
		f.Fatal(err)
	}
	none, err := trustStore(nil, "none")
	if err != nil {
		f.Fatal(err)
	}
	if n, ok := safes(one); n != 1 || !ok {
		f.Fatalf("%d safes, %v", n, ok)
	}
	f.Add(one, one)
	f.Add(one, none)
	f.Add(none, one[:len(one)-1])
	f.Add([]byte{0x30, 0x80, 0, 0}, one)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		first, aerr := contents(a)
		second, berr := contents(b)
		out, err := splice(a, b)
		if (err == nil) != (aerr == nil && berr == nil) {
			t.Fatal(aerr, berr, err)
		}
		if err != nil {
			return
		}
		if got, err := contents(out); err != nil || !bytes.Equal(got, slices.Concat(first, second)) {
			t.Fatalf("%x and %x became %x, %v", first, second, got, err)
		}
		ours, ok1 := safes(a)
		theirs, ok2 := safes(b)
		if both, ok := safes(out); ok1 && ok2 && (!ok || both != ours+theirs) {
			t.Fatalf("%d and %d safes became %d, %v", ours, theirs, both, ok)
		}
	})
}

// safes counts those of a store, by another reader of ASN.1.
func safes(store []byte) (int, bool) {
	var pfx struct {
		Version  int
		AuthSafe struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue // [0], around octets
		}
	}
	var octets []byte
	var all []asn1.RawValue
	rest, err := asn1.Unmarshal(store, &pfx)
	if err == nil && len(rest) == 0 {
		rest, err = asn1.Unmarshal(pfx.AuthSafe.Content.Bytes, &octets)
	}
	if err == nil && len(rest) == 0 {
		rest, err = asn1.Unmarshal(octets, &all)
	}
	return len(all), err == nil && len(rest) == 0
}
