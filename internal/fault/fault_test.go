package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"firma/internal/fault"
)

func TestTextNameAndCause(t *testing.T) {
	plain := fault.New("MissingSidecar", "there is none", "start one")
	caused := fault.Wrap(io.EOF, "AuditKeyMissing", "no key", "make one")
	for _, tt := range []struct {
		err        error
		text, name string
	}{
		{plain, "MissingSidecar: there is none", "MissingSidecar"},
		{caused, "AuditKeyMissing: no key: EOF", "AuditKeyMissing"},
		{fmt.Errorf("while starting: %w", plain), "while starting: MissingSidecar: there is none", "MissingSidecar"},
		{io.EOF, "EOF", ""},
	} {
		if got := tt.err.Error(); got != tt.text {
			t.Errorf("text %q, want %q", got, tt.text)
		}
		if got := fault.NameOf(tt.err); got != tt.name {
			t.Errorf("%v: name %q, want %q", tt.err, got, tt.name)
		}
	}
	if !errors.Is(caused, io.EOF) || !errors.Is(caused, fault.New("AuditKeyMissing", "", "")) || errors.Is(caused, plain) {
		t.Error("errors.Is does not follow name and cause")
	}
}

func TestUsage(t *testing.T) {
	for name, want := range map[string]bool{
		"ArgumentInvalid": true, "MissingCommand": true, "SidecarLocalNoAutostart": true, "AuthorityLocalNoAutostart": true,
		"MissingAuthority": false, "ConfigParse": false, "": false,
	} {
		if got := fault.Usage(fault.New(name, "", "")); got != want {
			t.Errorf("Usage(%q) = %v", name, got)
		}
	}
	if fault.Usage(io.EOF) || fault.Usage(nil) {
		t.Error("an error without a name is not wrong usage")
	}
}
