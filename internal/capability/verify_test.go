package capability

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/google/go-cmp/cmp"

	"firma/internal/verdict"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	key  = ed25519.NewKeyFromSeed([]byte("0123456789abcdef0123456789abcdef"))
	pub  = key.Public().(ed25519.PublicKey)
)

func claims() Claims {
	return Claims{
		TokenID: "ctok_01", AgentID: "local-dev", SessionID: "s1", ContextHash: strings.Repeat("ab", 32),
		ResourceScope: "*", ActionSet: []string{"code.read", "communication.external.send"},
		IssuedAt: noon, Expiry: noon.Add(15 * time.Minute),
	}
}

// sealed signs any payload as PASETO v4.public does, without the library: header,
// base64url(payload ‖ signature), where the signature is Ed25519 over the
// pre-authentication encoding of header, payload, footer and implicit assertion.
func sealed(key ed25519.PrivateKey, payload, footer, implicit string) string {
	pae := binary.LittleEndian.AppendUint64(nil, 4)
	for _, part := range []string{"v4.public.", payload, footer, implicit} {
		pae = binary.LittleEndian.AppendUint64(pae, uint64(len(part)))
		pae = append(pae, part...)
	}
	token := "v4.public." + base64.RawURLEncoding.EncodeToString(append([]byte(payload), ed25519.Sign(key, pae)...))
	if footer != "" {
		token += "." + base64.RawURLEncoding.EncodeToString([]byte(footer))
	}
	return token
}

// payloadOf is the JSON of the usual claims with changes: a nil value removes a
// claim.
func payloadOf(t testing.TB, changes map[string]any) string {
	t.Helper()
	m := map[string]any{
		"token_id": "ctok_01", "agent_id": "local-dev", "session_id": "s1", "context_hash": "", "resource_scope": "*",
		"action_set": []string{"code.read"}, "iat": "2026-11-23T12:00:00Z", "exp": "2026-11-23T12:15:00Z",
	}
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func refusal(t *testing.T, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want an *Error", err)
	}
	return e
}

// The test's own signer is right: it reproduces vector 4-S-1 of the PASETO
// specification's test vectors.
func TestSealedReproducesTheVector(t *testing.T) {
	seed, _ := hex.DecodeString("b4cbfb43df4ce210727d953e4a713307fa19bb7d9f85041438d9e11b942a3774")
	const payload = `{"data":"this is a signed message","exp":"2022-01-01T00:00:00+00:00"}`
	const want = "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9" +
		"bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqxT1ciiQEDA"
	if got := sealed(ed25519.NewKeyFromSeed(seed), payload, "", ""); got != want {
		t.Errorf("got %s", got)
	}
	// Its signature is good, so it must fail for its claims.
	_, err := Verify(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey), want, noon, 0)
	if e := refusal(t, err); e.Reason != verdict.CapabilityInvalid || !strings.Contains(e.Detail, "data") {
		t.Errorf("err = %v", err)
	}
}

func TestSignThenVerify(t *testing.T) {
	ceiling := 12.5
	for _, c := range []Claims{
		claims(),
		func() Claims { c := claims(); c.BudgetCeiling = &ceiling; c.ActionSet = []string{"*"}; return c }(),
		func() Claims { c := claims(); c.ContextHash = ""; c.ResourceScope = "*.example.com"; return c }(),
	} {
		raw, err := Sign(key, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Verify(pub, raw, noon, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&Token{Claims: c, Raw: raw}, got); diff != "" {
			t.Errorf("(-signed +verified)\n%s", diff)
		}
	}
}

// Signing is deterministic, so a token has one string; this one pins the format.
func TestSignVector(t *testing.T) {
	const payload = `{"action_set":["code.read"],"agent_id":"local-dev","context_hash":"","exp":"2026-11-23T12:15:00Z",` +
		`"iat":"2026-11-23T12:00:00Z","nbf":"2026-11-23T12:00:00Z","resource_scope":"*","session_id":"s1","token_id":"ctok_01"}`
	c := claims()
	c.ActionSet, c.ContextHash = []string{"code.read"}, ""
	// Another zone and a fraction of a second: neither is written.
	c.IssuedAt = noon.Add(999 * time.Millisecond).In(time.FixedZone("", 3600))
	got, err := Sign(key, c)
	if err != nil {
		t.Fatal(err)
	}
	if want := sealed(key, payload, "", ""); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSignRefuses(t *testing.T) {
	tests := map[string]func(*Claims){
		"no token id":        func(c *Claims) { c.TokenID = "" },
		"no agent":           func(c *Claims) { c.AgentID = "" },
		"no session":         func(c *Claims) { c.SessionID = "" },
		"control character":  func(c *Claims) { c.AgentID = "a\nb" },
		"long id":            func(c *Claims) { c.AgentID = strings.Repeat("a", 513) },
		"not UTF-8":          func(c *Claims) { c.AgentID = "\xff" },
		"no actions":         func(c *Claims) { c.ActionSet = nil },
		"unknown action":     func(c *Claims) { c.ActionSet = []string{"code.reed"} },
		"action twice":       func(c *Claims) { c.ActionSet = []string{"code.read", "code.read"} },
		"no scope":           func(c *Claims) { c.ResourceScope = "" },
		"glob scope":         func(c *Claims) { c.ResourceScope = "wttr.in*" },
		"expiry before":      func(c *Claims) { c.Expiry = c.IssuedAt.Add(-time.Second) },
		"expiry at issue":    func(c *Claims) { c.Expiry = c.IssuedAt },
		"within one second":  func(c *Claims) { c.Expiry = c.IssuedAt.Add(time.Millisecond) },
		"zero times":         func(c *Claims) { c.IssuedAt, c.Expiry = time.Time{}, time.Time{} },
		"far away":           func(c *Claims) { c.Expiry = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"negative budget":    func(c *Claims) { b := -1.0; c.BudgetCeiling = &b },
		"more than 16 KiB":   func(c *Claims) { c.ContextHash = strings.Repeat("a", 20<<10) },
		"line separator":     func(c *Claims) { c.SessionID = "a\u2028b" },
		"long scope":         func(c *Claims) { c.ResourceScope = "example.com/" + strings.Repeat("a", 2<<10) },
		"a thousand actions": func(c *Claims) { c.ActionSet = make([]string, 1000) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := claims()
			change(&c)
			if raw, err := Sign(key, c); err == nil || raw != "" {
				t.Errorf("Sign = %q, %v", raw, err)
			}
		})
	}
	for name, k := range map[string]ed25519.PrivateKey{
		"no key": nil, "a seed": key.Seed(), "halves of two keys": append(append([]byte{}, key.Seed()...), make([]byte, 32)...),
	} {
		if raw, err := Sign(k, claims()); err == nil || raw != "" {
			t.Errorf("%s: Sign = %q, %v", name, raw, err)
		}
	}
}

func TestVerifyTimes(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, "2026-11-23T"+s+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		name    string
		changes map[string]any
		now     time.Time
		skew    time.Duration
		want    verdict.Reason
	}{
		{"at issue", nil, at("12:00:00"), 0, ""},
		{"just before expiry", nil, at("12:14:59.999999999"), 0, ""},
		{"at expiry", nil, at("12:15:00"), 0, verdict.CapabilityExpired},
		{"after expiry", nil, at("12:15:01"), 0, verdict.CapabilityExpired},
		{"after expiry, within the skew", nil, at("12:15:04.999"), 5 * time.Second, ""},
		{"after expiry and skew", nil, at("12:15:05"), 5 * time.Second, verdict.CapabilityExpired},
		{"before issue", nil, at("11:59:59.999"), 0, verdict.CapabilityInvalid},
		{"before issue, within the skew", nil, at("11:59:55"), 5 * time.Second, ""},
		{"before issue and skew", nil, at("11:59:54.999"), 5 * time.Second, verdict.CapabilityInvalid},
		{"nbf later than iat", map[string]any{"nbf": "2026-11-23T12:05:00Z"}, at("12:04:59"), 0, verdict.CapabilityInvalid},
		{"nbf reached", map[string]any{"nbf": "2026-11-23T12:05:00Z"}, at("12:05:00"), 0, ""},
		{"a negative skew is none", nil, at("12:14:59"), -time.Hour, ""},
		{"a negative skew is none", nil, at("12:00:00"), -time.Hour, ""},
		{"an offset", map[string]any{"exp": "2026-11-23T14:15:00+02:00"}, at("12:14:59"), 0, ""},
		{"an offset", map[string]any{"exp": "2026-11-23T14:15:00+02:00"}, at("12:15:00"), 0, verdict.CapabilityExpired},
		{"a fraction", map[string]any{"exp": "2026-11-23T12:15:00.5Z"}, at("12:15:00.4"), 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Verify(pub, sealed(key, payloadOf(t, tt.changes), "", ""), tt.now, tt.skew)
			if tt.want == "" {
				if err != nil || got == nil {
					t.Fatalf("Verify = %v", err)
				}
				return
			}
			if e := refusal(t, err); e.Reason != tt.want || got != nil {
				t.Errorf("err = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestVerifyRefusesPayloads(t *testing.T) {
	ok := payloadOf(t, nil)
	tests := map[string]string{
		"empty":                  "",
		"null":                   "null",
		"an array":               "[" + ok + "]",
		"two objects":            ok + ok,
		"text behind":            ok + "x",
		"cut off":                ok[:len(ok)-1],
		"not UTF-8":              strings.Replace(ok, "local-dev", "local\xffdev", 1),
		"a claim twice":          strings.Replace(ok, `{`, `{"session_id":"other",`, 1),
		"a claim twice, escaped": strings.Replace(ok, `{`, `{"\u0073ession_id":"other",`, 1),
		"a claim in other case":  strings.Replace(ok, `"session_id"`, `"Session_ID"`, 1),
		"other case besides":     strings.Replace(ok, `{`, `{"Session_ID":"other",`, 1),
		"an unknown claim":       payloadOf(t, map[string]any{"max_uses": 1}),
		"an audience":            payloadOf(t, map[string]any{"aud": "someone else"}),
		"a subject":              payloadOf(t, map[string]any{"sub": "x"}),
		"alg":                    payloadOf(t, map[string]any{"alg": "none"}),
		"exp as a number":        payloadOf(t, map[string]any{"exp": noon.Add(time.Hour).Unix()}),
		"exp without a zone":     payloadOf(t, map[string]any{"exp": "2026-11-23T12:15:00"}),
		"exp in another form":    payloadOf(t, map[string]any{"exp": "23 Nov 26 12:15 UTC"}),
		"exp before iat":         payloadOf(t, map[string]any{"exp": "2026-11-23T11:15:00Z"}),
		"nbf as null":            strings.Replace(ok, `{`, `{"nbf":null,`, 1),
		"id as null":             strings.Replace(ok, `"ctok_01"`, `null`, 1),
		"hash as null":           strings.Replace(ok, `"context_hash":""`, `"context_hash":null`, 1),
		"id as a number":         strings.Replace(ok, `"ctok_01"`, `1`, 1),
		"id as an array":         strings.Replace(ok, `"ctok_01"`, `["ctok_01"]`, 1),
		"empty id":               payloadOf(t, map[string]any{"token_id": ""}),
		"line break in an id":    payloadOf(t, map[string]any{"agent_id": "a\nb"}),
		"actions as a string":    payloadOf(t, map[string]any{"action_set": "code.read"}),
		"actions as null":        strings.Replace(ok, `["code.read"]`, `null`, 1),
		"no action":              payloadOf(t, map[string]any{"action_set": []string{}}),
		"a null action":          strings.Replace(ok, `["code.read"]`, `["code.read",null]`, 1),
		"an action twice":        payloadOf(t, map[string]any{"action_set": []string{"code.read", "code.read"}}),
		"too many actions":       strings.Replace(ok, `["code.read"]`, `["x"`+strings.Repeat(`,"x"`, 300)+`]`, 1),
		"an unusable scope":      payloadOf(t, map[string]any{"resource_scope": "api.x.com*"}),
		"budget as a string":     payloadOf(t, map[string]any{"budget_ceiling": "5"}),
		"budget as null":         strings.Replace(ok, `{`, `{"budget_ceiling":null,`, 1),
		"budget negative":        payloadOf(t, map[string]any{"budget_ceiling": -1}),
		"budget out of range":    strings.Replace(ok, `{`, `{"budget_ceiling":1e999,`, 1),
	}
	for _, claim := range required {
		tests["without "+claim] = payloadOf(t, map[string]any{claim: nil})
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(pub, sealed(key, payload, "", ""), noon, 0)
			if e := refusal(t, err); e.Reason != verdict.CapabilityInvalid || got != nil {
				t.Errorf("Verify = %v, %v", got, err)
			}
		})
	}
	fine := map[string]string{
		"as it is":           ok,
		"with nbf":           payloadOf(t, map[string]any{"nbf": "2026-11-23T12:00:00Z"}),
		"with a budget":      payloadOf(t, map[string]any{"budget_ceiling": 0}),
		"white space":        strings.ReplaceAll(ok, `,"`, " ,\n\t\""),
		"a class not known":  payloadOf(t, map[string]any{"action_set": []string{"some.later.class"}}),
		"every class":        payloadOf(t, map[string]any{"action_set": []string{"*"}}),
		"escaped claim name": strings.Replace(ok, `"session_id"`, `"\u0073ession_id"`, 1),
	}
	for name, payload := range fine {
		if _, err := Verify(pub, sealed(key, payload, "", ""), noon, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The classic forgeries: other algorithms, other keys, changed bytes.
func TestVerifyRefusesForgeries(t *testing.T) {
	ok := payloadOf(t, nil)
	good := sealed(key, ok, "", "")
	body := strings.TrimPrefix(good, "v4.public.")
	b64 := base64.RawURLEncoding.EncodeToString
	signature := good[len(good)-86:]

	local := paseto.NewToken()
	local.SetString("token_id", "x")
	symmetric, err := paseto.V4SymmetricKeyFromBytes(pub) // the public key used as a shared secret
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := []byte(good)
		b[i] ^= 1
		return string(b)
	}
	tests := map[string]string{
		"empty":                         "",
		"header only":                   "v4.public.",
		"header without dot":            "v4.public",
		"shorter than a signature":      "v4.public." + b64(make([]byte, 63)),
		"signature only":                "v4.public." + b64(make([]byte, 64)),
		"jwt with alg none":             b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(ok)) + ".",
		"jwt signed by our key":         b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64([]byte(ok)) + "." + signature,
		"v4.local under the public key": local.V4Encrypt(symmetric, nil),
		"v4.local header":               "v4.local." + body,
		"v2.public header":              "v2.public." + body,
		"v3.public header":              "v3.public." + body,
		"V4 in capitals":                "V4.PUBLIC." + body,
		"a space before":                " " + good,
		"a line break behind":           good + "\n",
		"a line break inside":           good[:40] + "\n" + good[40:],
		"padding":                       good + "==",
		"standard base64":               "v4.public.+/" + body[2:],
		"a signed footer":               sealed(key, ok, `{"kid":"1"}`, ""),
		"a footer added":                good + ".e30",
		"an empty footer":               good + ".",
		"an implicit assertion":         sealed(key, ok, "", "x"),
		"another key":                   sealed(ed25519.NewKeyFromSeed(make([]byte, 32)), ok, "", ""),
		"the public key as the seed":    sealed(ed25519.NewKeyFromSeed(pub), ok, "", ""),
		"a changed payload":             "v4.public." + b64([]byte(strings.Replace(ok, "s1", "s2", 1))) + signature,
		"first byte changed":            flip(10),
		"last byte changed":             flip(len(good) - 2),
		"cut":                           good[:len(good)-4],
		"more than 16 KiB":              sealed(key, strings.Replace(ok, "{", "{"+strings.Repeat(" ", 13<<10), 1), "", ""),
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Verify(pub, raw, noon, 0)
			e := refusal(t, err)
			if e.Reason != verdict.CapabilityInvalid || got != nil {
				t.Errorf("Verify = %v, %v", got, err)
			}
			if strings.Contains(name, "footer") && !strings.Contains(e.Detail, "footer") {
				t.Errorf("the error does not name the footer: %v", err)
			}
			if len(raw) > 60 && strings.Contains(e.Detail, raw[20:60]) {
				t.Errorf("the error repeats the token: %v", err)
			}
		})
	}
	if _, err := Verify(pub, good, noon, 0); err != nil {
		t.Errorf("the token of this test: %v", err)
	}
}

// Base64 leaves unused bits in the last character: only one spelling may pass.
func TestVerifyRefusesOtherSpellings(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, agent := range []string{"a", "ab", "abc"} { // the three lengths modulo 3
		good := sealed(key, payloadOf(t, map[string]any{"agent_id": agent}), "", "")
		for _, c := range alphabet {
			raw := good[:len(good)-1] + string(c)
			if _, err := Verify(pub, raw, noon, 0); (err == nil) != (raw == good) {
				t.Errorf("last character %c: %v", c, err)
			}
		}
	}
}

func TestVerifyRefusesKeys(t *testing.T) {
	good := sealed(key, payloadOf(t, nil), "", "")
	keys := map[string]ed25519.PublicKey{
		"none": nil, "short": pub[:31], "long": append(append(ed25519.PublicKey{}, pub...), 0), "private": ed25519.PublicKey(key),
		"zero": make([]byte, 32),
	}
	for _, s := range smallOrder {
		for _, sign := range []byte{0, 0x80} {
			b, err := hex.DecodeString(s)
			if err != nil || len(b) != 32 {
				t.Fatalf("smallOrder %q: %v", s, err)
			}
			b[31] |= sign
			keys[hex.EncodeToString(b)] = b
		}
	}
	for name, k := range keys {
		_, err := Verify(k, good, noon, 0)
		if e := refusal(t, err); e.Reason != verdict.CapabilityInvalid || !strings.Contains(e.Detail, "public key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Under a key of small order anyone can sign: this builds such a signature for
// the identity (S = 0, R = the identity) and shows that only weakKey stops it.
func TestSmallOrderKeyWouldVerify(t *testing.T) {
	identity := make([]byte, 32)
	identity[0] = 1
	forged := append(append([]byte{}, identity...), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("anything"), forged) {
		t.Skip("the standard library refuses it by itself")
	}
	raw := "v4.public." + base64.RawURLEncoding.EncodeToString(append([]byte(payloadOf(t, nil)), forged...))
	if _, err := Verify(identity, raw, noon, 0); err == nil {
		t.Error("a forged token verified")
	}
}

func FuzzVerify(f *testing.F) {
	good := sealed(key, payloadOf(f, nil), "", "")
	f.Add(good, false)
	f.Add(sealed(key, payloadOf(f, nil), "x", ""), false)
	f.Add("v4.public."+strings.Repeat("A", 100), false)
	f.Add(payloadOf(f, nil), true)
	f.Add(`{"token_id":"a","token_id":"b"}`, true)
	f.Fuzz(func(t *testing.T, s string, sign bool) {
		if sign { // reach the payload: everything that can be signed
			s = sealed(key, s, "", "")
		}
		got, err := Verify(pub, s, noon, time.Second)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || got != nil || (e.Reason != verdict.CapabilityInvalid && e.Reason != verdict.CapabilityExpired) {
				t.Fatalf("Verify = %v, %v", got, err)
			}
			return
		}
		// What verifies is whole: an issuer could have signed it.
		if err := check(got.Claims); err != nil || got.Raw != s {
			t.Fatalf("accepted %+v: %v", got, err)
		}
		if !sign && s != good {
			t.Fatalf("forged: %q", s)
		}
	})
}
