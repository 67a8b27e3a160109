package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firma/internal/fault"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/policy/fixture"
	"firma/internal/verdict"
)

func policyCommand() *cobra.Command {
	cmd := group("policy", "Check and try policies offline", policyListCommand(), policyValidateCommand(), policyTestCommand())
	cmd.Long = "Policies are Cedar text that decides about each call by its class, its\ndestination and its context (docs/policies.md)."
	cmd.Example = "  firma policy list\n  firma policy validate policies/*.cedar\n  firma policy test fixtures/*.toml"
	return cmd
}

func policyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the shipped postures and mappings", Args: arguments(cobra.NoArgs),
		Long: `List what ships with firma: postures, which decide, and mappings, which say what
a call is. Any posture goes with any mapping.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%-24s %s\n", "POSTURE", "POLICIES")
			for _, name := range policy.PostureNames() {
				b, err := posture(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "%-24s %d\n", name, b.Len())
			}
			fmt.Fprintf(out, "\n%-24s %s\n", "MAPPING", "RULES")
			for _, name := range mapping.ShippedNames() {
				rules, err := mapping.Shipped(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "%-24s %d\n", name, len(rules))
			}
			return nil
		},
	}
}

func posture(name string) (*policy.Bundle, error) {
	text, err := policy.Posture(name)
	if err != nil {
		return nil, err
	}
	return policy.Compile(name, text, nil)
}

func policyValidateCommand() *cobra.Command {
	var schema string
	cmd := &cobra.Command{
		Use: "validate FILE...", Short: "Check Cedar policies as an Authority would", Args: arguments(cobra.MinimumNArgs(1)),
		Long: `Check each file as a bundle of its own, against the schema, without loading
anything. docs/policies.md says what is refused.

Exit status: 0 when every file is valid (prints OK); 1 when one is not: each
problem is printed as FILE:LINE:COLUMN.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readSchema(schema)
			if err != nil {
				return err
			}
			ok := true
			for _, path := range args {
				ok = validatePolicy(cmd, path, text) && ok
			}
			if !ok {
				return exitError(1)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "OK")
			return nil
		},
	}
	cmd.Flags().StringVar(&schema, "schema", "", "`FILE` Cedar schema (default: the built-in one)")
	return cmd
}

func readSchema(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, "PolicyInvalid", "the schema can't be read", "check the path")
	}
	return text, nil
}

// validatePolicy prints what is wrong with one file.
func validatePolicy(cmd *cobra.Command, path string, schema []byte) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		report(cmd.ErrOrStderr(), fault.Wrap(err, "PolicyInvalid", path+" can't be read", "check the path"))
		return false
	}
	_, err = policy.Compile(path, text, schema)
	var problems *policy.Error
	switch {
	case err == nil:
		return true
	case !errors.As(err, &problems):
		report(cmd.ErrOrStderr(), err)
		return false
	}
	for _, p := range problems.Problems {
		sep := ":"
		if p.Line == 0 {
			sep = ": "
		}
		fmt.Fprintln(cmd.ErrOrStderr(), path+sep+p.String())
	}
	return false
}

func policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test FIXTURE...", Short: "Ask a bundle one question and compare the answer", Args: arguments(cobra.MinimumNArgs(1)),
		Long: `Evaluate each fixture (TOML or JSON; docs/policies.md) against its bundle and
print the outcome and the policies that decided, or - when none did.

Exit status: 0 when every outcome is the expected one, else 1.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ok := true
			for _, path := range args {
				ok = tryFixture(cmd, path) && ok
			}
			if !ok {
				return exitError(1)
			}
			return nil
		},
	}
}

func tryFixture(cmd *cobra.Command, path string) bool {
	f, b, err := loadFixture(path)
	if err != nil {
		report(cmd.ErrOrStderr(), err)
		return false
	}
	res := b.Evaluate(f.Request)
	ids := "-"
	if len(res.Policies) > 0 {
		ids = strings.Join(res.Policies, ",")
	}
	word := shown(f, res.Outcome)
	fmt.Fprintln(cmd.OutOrStdout(), word, ids)
	for _, e := range res.Errors {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: policy", e)
	}
	if !f.Met(res.Outcome) {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: decision mismatch: expected %s, got %s\n", f.Expected(), word)
		return false
	}
	return true
}

// shown is ALLOW or DENY, the contract's words; the finer ones only for a fixture
// that asks for one of them.
func shown(f fixture.Fixture, o verdict.Outcome) string {
	switch {
	case f.Expected() != "ALLOW" && f.Expected() != "DENY":
		return o.String()
	case o.Dispatches():
		return "ALLOW"
	}
	return "DENY"
}

func loadFixture(path string) (fixture.Fixture, *policy.Bundle, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return fixture.Fixture{}, nil, fault.Wrap(err, "FixtureInvalid", "the fixture can't be read", "check the path")
	}
	f, err := fixture.Parse(path, data, time.Now())
	if err != nil {
		return f, nil, err
	}
	dir := f.Bundle
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(path), dir)
	}
	text, err := policyFiles(dir)
	if err != nil {
		return f, nil, err
	}
	b, err := policy.Compile(dir, text, nil)
	return f, b, err
}

// policyFiles joins every *.cedar directly in dir, in the order of the names.
func policyFiles(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.cedar"))
	if err != nil || len(files) == 0 {
		return nil, fault.New("FixtureInvalid", dir+" holds no .cedar file", "name a directory that does in [bundle] path; it is relative to the fixture")
	}
	slices.Sort(files)
	var all []policy.File
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, fault.Wrap(err, "FixtureInvalid", "a policy can't be read", "check "+f)
		}
		all = append(all, policy.File{Name: filepath.Base(f), Text: data})
	}
	return policy.Join(all), nil
}

var globSigns = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func escapeGlob(dir string) string {
	if filepath.Separator == '\\' { // no escapes there
		return dir
	}
	return globSigns.Replace(dir)
}
