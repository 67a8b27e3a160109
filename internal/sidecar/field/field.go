// Package field knows the header fields that firma handles itself, whichever
// version of HTTP carries them. "_" counts as "-" in every name, as it does for
// servers that pass fields on as CGI variables.
package field

import "firma/internal/intent"

// Ours reports whether a field is firma's own: whoever sends it, it is not
// believed and not passed on.
func Ours[N string | []byte](name N) bool {
	const prefix = "x-firma-"
	return len(name) >= len(prefix) && fold(name[0]) == 'x' && Same(name[:len(prefix)], prefix)
}

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
	case c == '_':
		return '-'
	}
	return c
}
