package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"firma/internal/sandbox/seccomp"
)

// metadata says what a filter was compiled from. Its keys are the contract's; all
// are required and no other is allowed.
type metadata struct {
	PolicySchemaVersion int      `json:"policy_schema_version"`
	PolicyID            string   `json:"policy_id"`
	PolicyVersion       string   `json:"policy_version"`
	SHA256              string   `json:"sha256"` // of policy.bpf, hex
	GeneratedAt         string   `json:"generated_at"`
	CompilerVersion     string   `json:"compiler_version"`
	TargetArch          string   `json:"target_arch"`
	DefaultAction       string   `json:"default_action"`
	SourcePolicyRefs    []string `json:"source_policy_refs"`
	SourcePolicySHA256  string   `json:"source_policy_sha256"`
	DeniedSyscalls      []string `json:"denied_syscalls"` // the policy's, ordered
}

// expected is the metadata of what p compiles to, made now.
func (p *Plan) expected(now time.Time) *metadata {
	return &metadata{
		PolicySchemaVersion: 1,
		PolicyID:            p.Policy.ID,
		PolicyVersion:       p.Policy.Version,
		SHA256:              checksum(p.filter),
		GeneratedAt:         now.UTC().Format(time.RFC3339),
		CompilerVersion:     fmt.Sprint("firma-seccomp-", seccomp.Version),
		TargetArch:          seccomp.Arch(),
		DefaultAction:       "allow",
		SourcePolicyRefs:    p.Policy.SourceRefs,
		SourcePolicySHA256:  p.Policy.SHA256,
		DeniedSyscalls:      p.Policy.Denied(),
	}
}

func (m *metadata) bytes() []byte {
	b, _ := json.MarshalIndent(m, "", "  ") // texts and numbers always encode
	return append(b, '\n')
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// names are the keys in the order of the file.
func names() []string {
	t := reflect.TypeFor[metadata]()
	var out []string
	for i := range t.NumField() {
		out = append(out, t.Field(i).Tag.Get("json"))
	}
	return out
}

func parseMetadata(b []byte) (*metadata, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	known := names()
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("unknown metadata key %q", k)
		}
	}
	for _, k := range known {
		if _, ok := raw[k]; !ok {
			return nil, fmt.Errorf("metadata key %s is missing", k)
		}
	}
	m := &metadata{}
	if err := json.Unmarshal(b, m); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return nil, fmt.Errorf("metadata key %s has a value of the wrong type", typ.Field)
		}
		return nil, err
	}
	if _, err := time.Parse(time.RFC3339, m.GeneratedAt); err != nil {
		return nil, fmt.Errorf("metadata key generated_at is no RFC 3339 time: %q", m.GeneratedAt)
	}
	return m, nil
}

// compare finds the first key that is not as the policy says. The filter's
// checksum is compared with the file, by judge.
func (p *Plan) compare(m *metadata) error {
	path := p.Dir + "/" + metadataName
	want := p.expected(time.Time{})
	for _, c := range []struct {
		key       string
		got, want any
		stale     string
	}{
		{"policy_schema_version", m.PolicySchemaVersion, want.PolicySchemaVersion, ""},
		{"policy_id", m.PolicyID, want.PolicyID, ""},
		{"policy_version", m.PolicyVersion, want.PolicyVersion, ""},
		{"target_arch", m.TargetArch, want.TargetArch, ""},
		{"default_action", m.DefaultAction, want.DefaultAction, ""},
		{"compiler_version", m.CompilerVersion, want.CompilerVersion, "it was compiled by another version of firma"},
		{"source_policy_sha256", m.SourcePolicySHA256, want.SourcePolicySHA256, "the policy source has changed since it was compiled"},
		{"source_policy_refs", m.SourcePolicyRefs, want.SourcePolicyRefs, ""},
		{"denied_syscalls", m.DeniedSyscalls, want.DeniedSyscalls, ""},
	} {
		if reflect.DeepEqual(c.got, c.want) {
			continue
		}
		if c.stale != "" {
			return &defect{name: "SeccompArtifactStale", path: path, why: fmt.Sprintf("%s (metadata key %s is %v, and must be %v)", c.stale, c.key, c.got, c.want)}
		}
		return tampered(path, "metadata key %s is %v, and must be %v", c.key, c.got, c.want)
	}
	return nil
}
