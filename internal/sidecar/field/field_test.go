package field

import "testing"

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name                     string
		ours, override, redacted bool
	}{
		{"x-firma-session-id", true, false, false},
		{"X_Firma-agent", true, false, false},
		{"X.Firma.Agent", true, false, false},
		{"X-Original-Method", true, false, false},
		{"x.http~method!override", false, true, false},
		{"x-firma", false, false, false},
		{"x-firmament", false, false, false},
		{"X-Original-URL", true, false, false},
		{"x_rewrite_url", true, false, false},
		{"X-Forwarded-Host", true, false, false},
		{"Forwarded", true, false, false},
		{"X-Envoy-Original-Dst-Host", true, false, false},
		{"X_Matched_Path", true, false, false},
		{"X-Host", true, false, false},
		{"X-Forwarded-For", false, false, false},
		{"X-Forwarded-Proto", false, false, false},
		{"x-hosts", false, false, false},
		{"from", false, false, false},
		{"", false, false, false},
		{"X-HTTP-Method-Override", false, true, false},
		{"x_method_override", false, true, false},
		{"x-http-method", false, true, false},
		{"x-http-methods", false, false, false},
		{"authorization", false, false, true},
		{"X-API_key", false, false, true},
		{"x-api-key2", false, false, false},
	} {
		if got := Ours(tt.name); got != tt.ours {
			t.Errorf("Ours(%q) = %v", tt.name, got)
		}
		if got := Override([]byte(tt.name)); got != tt.override {
			t.Errorf("Override(%q) = %v", tt.name, got)
		}
		if got := Redacted(tt.name, []string{"Authorization", "x-api-key"}); got != tt.redacted {
			t.Errorf("Redacted(%q) = %v", tt.name, got)
		}
	}
}
