// Package trust makes the agent's runtimes trust the certificate authority behind
// interception: it adds to a sandbox's view a bundle of certificates at the
// places where runtimes look, and to the agent's environment the variables that
// lead there. Only certificates go inside, never a key.
package trust

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
	"firma/internal/sandbox"
)

// Where the certificates are inside. Own is the authority's alone.
const (
	Own    = "/run/firma/ca.crt"
	Bundle = "/run/firma/ca-bundle.crt"
)

// The modes: whether the host's roots are trusted beside the authority. Without
// them, connections that are not looked into can't be verified inside.
const (
	AppendSystemRoots = "append_system_roots"
	Sole              = "sole"
)

// bundles are where systems keep all roots in one file, most common first:
// Debian and its kin, Fedora and its kin, openSUSE, Alpine and others.
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/var/lib/ca-certificates/ca-bundle.pem",
	"/etc/ssl/ca-bundle.pem",
	"/etc/ssl/cert.pem",
	"/etc/pki/tls/cert.pem",
}

// maxBundle bounds the host's bundle, in bytes.
const maxBundle = 8 << 20

// variables lead runtimes to the bundle. Those in own take an addition to what
// the runtime trusts already.
var (
	variables = []string{
		"SSL_CERT_FILE",                        // OpenSSL, and with it Python and Ruby; Go; rustls-native-certs
		"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", // curl; Python requests, httpx
		"GIT_SSL_CAINFO", "PIP_CERT", // git; pip
		"CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", // cargo; AWS tools
		"NIX_SSL_CERT_FILE", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
		"npm_config_cafile",                // npm reads no other
		"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC in C++, Python, Ruby, PHP, which bring their own
		"HTTPLIB2_CA_CERTS",                // httplib2, and with it Google's clients in Python
	}
	own = []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT", "FIRMA_SIDECAR_CA_CERT_PATH"}
)

// Apply adds the authority's certificate, PEM, to spec and returns env, which is
// sorted, with the variables added that it does not set. mode is
// AppendSystemRoots, also when "", or Sole. What costs much and is the same in
// every run is kept in cacheDir, which only its owner may write to; "" keeps
// nothing.
func Apply(spec *sandbox.Spec, env []string, cert []byte, mode, cacheDir string) ([]string, error) {
	var system []byte
	if mode != Sole {
		var err error
		if system, err = systemRoots(); err != nil {
			return nil, err
		}
	}
	merged := join(system, cert)
	spec.Files = append(spec.Files, sandbox.File{Path: Own, Data: cert})
	if place := over(spec, merged); place != "" {
		spec.Symlinks = append(spec.Symlinks, sandbox.Symlink{Path: Bundle, Target: place})
	} else {
		spec.Files = append(spec.Files, sandbox.File{Path: Bundle, Data: merged})
	}
	if err := java(spec, system, cert, cacheDir); err != nil {
		return nil, err
	}
	return environment(env), nil
}

// systemRoots is the host's bundle.
func systemRoots() ([]byte, error) {
	paths := bundles
	if p := os.Getenv("SSL_CERT_FILE"); p != "" { // the operator's own choice for programs of this host
		paths = append([]string{p}, paths...)
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxBundle {
			continue
		}
		if data, err := os.ReadFile(p); err == nil && bytes.Contains(data, []byte("-----BEGIN ")) {
			return data, nil
		}
	}
	return nil, fault.New("SystemRootsMissing", "the host's root certificates were found at none of "+strings.Join(bundles, ", "),
		`install them (Debian, Ubuntu: apt-get install ca-certificates), name a bundle in SSL_CERT_FILE, or set ca_trust_mode = "sole"`)
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		if b = append(b, p...); len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
	}
	return b
}

// over puts the bundle where the system keeps its own and the sandbox shows that,
// for programs that read no variable or have lost theirs. It returns one of those
// places, "" if there is none.
func over(spec *sandbox.Spec, merged []byte) (place string) {
	done := map[string]bool{}
	for _, p := range bundles {
		real, err := filepath.EvalSymlinks(p)
		if err != nil || done[real] {
			continue
		}
		done[real] = true
		if i := slices.IndexFunc(spec.Files, func(f sandbox.File) bool { return f.Path == real }); i >= 0 {
			spec.Files[i].Data = merged
			place = real
		} else if spec.Covered(real) {
			spec.Files = append(spec.Files, sandbox.File{Path: real, Data: merged, Over: true})
			place = real
		}
	}
	return place
}

func environment(env []string) []string {
	out := slices.Clone(env)
	add := func(names []string, value string) {
		for _, n := range names {
			if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, n+"=") }) {
				out = append(out, n+"="+value)
			}
		}
	}
	add(variables, Bundle)
	add(own, Own)
	add([]string{"DENO_TLS_CA_STORE"}, "system,mozilla")
	slices.Sort(out)
	return out
}
