// Package field knows the header fields that firma handles itself, whichever
// version of HTTP carries them. Whatever is no letter or digit counts as "-" in
// every name, as it does for servers that pass fields on as CGI variables.
package field

import "firma/internal/intent"

// Ours reports whether a field is not passed on, whoever sends it: firma's own,
// and those that ask a server for another host, path or method than the request
// names, which is the one that was judged.
func Ours[N string | []byte](name N) bool {
	const prefix = "x-firma-"
	if len(name) < len(prefix)-2 || fold(name[0]) != 'x' && fold(name[0]) != 'f' {
		return false
	}
	return len(name) >= len(prefix) && Same(name[:len(prefix)], prefix) || misleads(name)
}

// misleads knows the fields that reverse proxies and frameworks take a request's
// host, path or method from (RFC 7239, and what is older and common). What says only who
// the client was or how it came, as X-Forwarded-For and -Proto do, passes.
func misleads[N string | []byte](name N) bool {
	for _, n := range misleading[len(name)&31] {
		if Same(name, n) {
			return true
		}
	}
	return false
}

// misleading is by length modulo 32, so that most fields are compared with none.
var misleading = func() (out [32][]string) {
	for _, n := range []string{
		"forwarded", "x-forwarded-host", "x-forwarded-server", "x-forwarded-uri", "x-forwarded-url", "x-forwarded-path",
		"x-forwarded-prefix", "x-forwarded-request-uri", "x-forwarded-port", "x-original-url", "x-original-uri", "x-original-host", "x-original-path",
		"x-rewrite-url", "x-rewrite-uri", "x-host", "x-http-host-override", "x-http-path-override", "x-http-destinationurl", "x-envoy-original-path",
		"x-envoy-original-host", "x-override-url", "x-original-method", "x-forwarded-method", "x-rewrite-method", "x-proxy-url", "x-script-name", "x-replaced-path", "x-sendfile-type",
		"x-envoy-original-dst-host", "x-cf-forwarded-url", "x-ms-original-url", "x-waws-unencoded-url", "x-unencoded-url", "x-request-uri", "x-original-request-uri",
		"x-rewrite-path", "x-forwarded-authority", "x-original-forwarded-host", "x-forwarded-original-host", "x-matched-path", "x-invoke-path", "x-invoke-query", "x-middleware-rewrite",
	} {
		out[len(n)&31] = append(out[len(n)&31], n)
	}
	return out
}()

// Override reports whether a field asks the server to run another method. It is
// intent.MethodOverride, at less cost for all other fields.
func Override[N string | []byte](name N) bool {
	return len(name) > 12 && (name[0] == 'x' || name[0] == 'X') && intent.MethodOverride(string(name))
}

// Redacted reports whether a field is to be removed.
func Redacted[N string | []byte](name N, headers []string) bool {
	for _, h := range headers {
		if Same(name, h) {
			return true
		}
	}
	return false
}

// Same compares names.
func Same[N string | []byte](name N, header string) bool {
	if len(name) != len(header) {
		return false
	}
	for i := 0; i < len(name); i++ {
		if fold(name[i]) != fold(header[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c | 0x20
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}
