package registries

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

var errAddress = errors.New("not an http or https address with a plain host name")

// hostOf returns the canonical host of a registry's address. User names and
// passwords in the address are dropped, and never part of an error.
func hostOf(raw string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" {
		return "", errAddress
	}
	name, err := canonicalName(u.Hostname())
	if err != nil {
		return "", err
	}
	return withPort(name, u.Port())
}

func withPort(name, port string) (string, error) {
	if port == "" {
		return name, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errAddress
	}
	if n == 80 || n == 443 {
		return name, nil
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return name + ":" + strconv.FormatUint(n, 10), nil
}

// canonicalName accepts an address literal or an ASCII host name; a name in
// another script has to be configured in its xn-- form.
func canonicalName(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", errAddress
		}
		return a.Unmap().String(), nil
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	labels := strings.Split(s, ".")
	if len(s) > 253 || numeric(labels[len(labels)-1]) {
		return "", errAddress
	}
	for _, l := range labels {
		if !plainLabel(l) {
			return "", errAddress
		}
	}
	return s, nil
}

// numeric spots the other spellings of an address (decimal, octal, hexadecimal,
// short): by the URL standard a name whose last label is a number is an address.
func numeric(label string) bool {
	_, err := strconv.ParseUint(label, 0, 64)
	return err == nil || strings.Trim(label, "0123456789") == ""
}

func plainLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for _, c := range []byte(l) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// validHost reports whether s is already in the form that hostOf returns.
func validHost(s string) bool {
	in := s
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		in = "[" + s + "]"
	}
	got, err := hostOf("http://" + in)
	return err == nil && got == s
}
