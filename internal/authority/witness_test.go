package authority_test

import (
	"bytes"
	"context"
	"testing"

	"firma/internal/fault"
	"firma/internal/sidecar/uplink"
)

func TestWitness(t *testing.T) {
	u := start(t, towards(run(t, inMemory())))
	head := func(size uint64, b byte) uplink.Checkpoint {
		return uplink.Checkpoint{Origin: "firma/audit/sbx_1", Size: size, Root: bytes.Repeat([]byte{b}, 32), Text: "signed"}
	}
	for _, tt := range []struct {
		name string
		head uplink.Checkpoint
		want string
	}{
		{"first", head(3, 1), ""},
		{"again", head(3, 1), ""},
		{"longer", head(9, 2), ""},
		{"cut short", head(8, 3), "AuditLogRewritten"},
		{"rewritten", head(9, 4), "AuditLogRewritten"},
		{"longer still", head(10, 5), ""},
		{"no root", uplink.Checkpoint{Origin: "x", Size: 1}, "AuthorityRequestRefused"},
	} {
		if err := u.Witness(context.Background(), tt.head); fault.NameOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	u.Close()
	if err := u.Witness(context.Background(), head(11, 6)); err == nil {
		t.Error("a closed uplink submitted a checkpoint")
	}
}
