package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"firma/internal/config"
	"firma/internal/sandbox/seccomp"
	"firma/internal/sandbox/seccomp/artifact"
)

// plan settles which policy and which artifact is meant: flags, then the
// environment, then what firma run would take from the configuration.
func (o *seccompOptions) plan() (*artifact.Plan, error) {
	run := runOptions{config: o.config, profile: o.profile, stateDir: o.stateDir}
	where, err := run.where()
	if err != nil {
		return nil, err
	}
	cfg, err := run.configuration(where)
	if err != nil {
		return nil, err
	}
	_, patch, err := run.profileOf(cfg)
	if err != nil {
		return nil, err
	}
	opts, err := seccompOf(patch).FromEnv(os.Getenv)
	if err != nil {
		return nil, err
	}
	if o.policy != "" {
		opts.PolicyPath = absolute(where, o.policy)
	}
	if o.artifactDir != "" {
		opts.ArtifactDir = absolute(where, o.artifactDir)
	}
	return artifact.New(opts, where.State)
}

func absolute(w config.Where, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(w.Dir, path)
}

// seccompOf is the syscall filter that a profile asks for.
func seccompOf(p config.Patch) artifact.Options {
	return artifact.Options{PolicyPath: p.Seccomp.SourcePath, ArtifactDir: p.Seccomp.ArtifactDir, Mode: artifact.Mode(p.Seccomp.RuntimeMode)}
}

func (o *seccompOptions) verify(cmd *cobra.Command) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	filter, err := p.Verify()
	if err != nil {
		return err
	}
	if err := p.Prove(filter); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "OK %s: policy %s %s, %s\n", p.Dir, p.Policy.ID, p.Policy.Version, filterText(filter))
	return nil
}

func (o *seccompOptions) compile(cmd *cobra.Command) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	if err := p.Compile(); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "compiled %s: policy %s %s, %s\n", p.Dir, p.Policy.ID, p.Policy.Version, filterText(p.Filter()))
	return nil
}

func filterText(filter []byte) string {
	sum := sha256.Sum256(filter)
	return fmt.Sprintf("%s, %d instructions, sha256:%s", seccomp.Arch(), len(filter)/8, hex.EncodeToString(sum[:]))
}

func (o *seccompOptions) show(cmd *cobra.Command) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.source {
		_, err := out.Write(p.Policy.Source)
		return err
	}
	v := viewOf(p)
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	v.print(out)
	return nil
}

// filterView is what firma seccomp show says.
type filterView struct {
	PolicyID       string        `json:"policy_id"`
	PolicyVersion  string        `json:"policy_version"`
	SourceRefs     []string      `json:"source_policy_refs"`
	SourceSHA256   string        `json:"source_policy_sha256"`
	DenyActions    []string      `json:"deny_actions"`
	DeniedSyscalls []string      `json:"denied_syscalls"`
	Base           []refusalView `json:"base"`
	ByArgument     []conditional `json:"by_argument"`
	Filter         string        `json:"filter"`
	Artifact       string        `json:"artifact"`
	State          string        `json:"state"` // "verified", or the fault a launch would report
}

type refusalView struct {
	Syscalls []string `json:"syscalls"`
	Errno    string   `json:"errno"`
	Why      string   `json:"why"`
}

type conditional struct {
	Syscall string `json:"syscall"`
	Refused string `json:"refused"`
}

func viewOf(p *artifact.Plan) *filterView {
	v := &filterView{
		PolicyID: p.Policy.ID, PolicyVersion: p.Policy.Version, SourceRefs: p.Policy.SourceRefs, SourceSHA256: p.Policy.SHA256,
		DenyActions: p.Policy.DenyActions, DeniedSyscalls: p.Policy.Denied(),
		Filter: filterText(p.Filter()), Artifact: p.Dir, State: "verified",
	}
	if _, err := p.Verify(); err != nil {
		v.State = err.Error()
	}
	for _, r := range seccomp.Base() {
		view := refusalView{Errno: unix.ErrnoName(r.Errno), Why: r.Why}
		for _, c := range r.Calls {
			view.Syscalls = append(view.Syscalls, c.Name)
		}
		if len(view.Syscalls) > 0 {
			v.Base = append(v.Base, view)
		}
	}
	for _, c := range seccomp.Conditions() {
		v.ByArgument = append(v.ByArgument, conditional{c.Name, c.Refused})
	}
	return v
}

func (v *filterView) print(w io.Writer) {
	denied := "nothing on top of the base"
	if len(v.DeniedSyscalls) > 0 {
		denied = strings.Join(v.DenyActions, ", ") + ": " + strings.Join(v.DeniedSyscalls, " ") + " (EPERM)"
	}
	for _, row := range [][2]string{
		{"policy", v.PolicyID + " " + v.PolicyVersion + " (" + strings.Join(v.SourceRefs, ", ") + ")"},
		{"denies", denied}, {"filter", v.Filter}, {"artifact", v.Artifact}, {"state", v.State},
	} {
		fmt.Fprintf(w, "%-10s%s\n", row[0], row[1])
	}
	fmt.Fprintln(w, "\nThe base, always on:")
	for _, r := range v.Base {
		for i, line := range wrap(strings.Join(r.Syscalls, " "), helpWidth-10) {
			if i > 0 {
				r.Errno = ""
			}
			fmt.Fprintf(w, "  %-8s%s\n", r.Errno, line)
		}
		for _, line := range wrap(r.Why, helpWidth-14) {
			fmt.Fprintf(w, "            %s\n", line)
		}
	}
	fmt.Fprintln(w, "\nRefused by argument, with EPERM:")
	for _, c := range v.ByArgument {
		fmt.Fprintf(w, "  %-12s%s\n", c.Syscall, c.Refused)
	}
	fmt.Fprintln(w, "\nA call of another architecture or of the x32 ABI kills its process.")
}
