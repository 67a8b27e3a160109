package authority_test

import (
	"context"
	"testing"

	"firma/internal/authority"
	"firma/internal/policy"
	"firma/internal/sidecar/uplink"
)

// BenchmarkStart is what a run waits for: connection, proof, capability, bundle
// and revocations, against an Authority that is up.
func BenchmarkStart(b *testing.B) {
	dev, err := policy.Posture("dev")
	if err != nil {
		b.Fatal(err)
	}
	cfg := inMemory()
	cfg.Policies = dev
	up := towards(run(b, cfg))
	b.ReportAllocs()
	for b.Loop() {
		u, err := uplink.New(up)
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Start(context.Background()); err != nil {
			b.Fatal(err)
		}
		u.Close()
	}
}

// BenchmarkNew is what an Authority of one run does before it listens.
func BenchmarkNew(b *testing.B) {
	dev, err := policy.Posture("dev")
	if err != nil {
		b.Fatal(err)
	}
	cfg := inMemory()
	cfg.Policies = dev
	for b.Loop() {
		if _, err := authority.New(cfg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccessors is what every request pays.
func BenchmarkAccessors(b *testing.B) {
	u := start(b, towards(run(b, inMemory())))
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := u.Ready(); !ok || u.Revoked("ctok_x") || u.Tokens().Len() != 1 {
			b.Fatal("not ready")
		}
		if bundle, _ := u.Bundle(); bundle == nil {
			b.Fatal("no bundle")
		}
	}
}
