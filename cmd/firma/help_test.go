package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// "firma run --help is the full reference": every help text fits a terminal of 80
// columns, shows how the command is written, and lists every flag once.
func TestHelpFitsATerminal(t *testing.T) {
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" { // the library's own
				walk(append(path[:len(path):len(path)], sub.Name()), sub)
			}
		}
		text := helpOf(t, append(path[:len(path):len(path)], "--help")...)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
				t.Errorf("firma %s: %d columns: %s", strings.Join(path, " "), n, line)
			}
		}
		if !strings.Contains(text, c.CommandPath()) || strings.ContainsAny(text, "`\t") {
			t.Errorf("firma %s:\n%s", strings.Join(path, " "), text)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if n := strings.Count(text, "--"+f.Name+"\n") + strings.Count(text, "--"+f.Name+" "); !f.Hidden && n == 0 {
				t.Errorf("firma %s does not list --%s", strings.Join(path, " "), f.Name)
			}
		})
	}
	walk(nil, rootCommand())
}

func helpOf(t *testing.T, args ...string) string {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	if err := root.Execute(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String()
}

// The commands that people look up most show examples.
func TestHelpShowsExamples(t *testing.T) {
	for _, name := range []string{"run", "sidecar", "authority", "doctor", "seccomp", "policy", "audit", "trust", "token"} {
		if !strings.Contains(helpOf(t, name, "--help"), "\nExamples:\n  firma "+name) && name != "run" {
			t.Errorf("firma %s --help shows no example", name)
		}
	}
}

// Flags of firma run stand under headings, none outside of them.
func TestHelpOfRunIsGrouped(t *testing.T) {
	_, flags, _ := strings.Cut(helpOf(t, "run", "--help"), "\nFlags:\n")
	if !strings.HasPrefix(flags, "  What the command gets:\n      --profile NAME") {
		t.Errorf("%.200s", flags)
	}
	for _, c := range rootCommand().Commands() {
		if c.Name() == "run" {
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if noted(f, groupNote) == "" {
					t.Errorf("--%s has no heading", f.Name)
				}
			})
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		line string
		want string // one of the suggestions
	}{
		{"r", "run\tRun a command"},
		{"run --pro", "--profile\twhat the sandbox shows"},
		{"run --profile ", "codex"},
		{"run --backend ", "firecracker"},
		{"run --identity-mode ", "host-user"},
		{"run --authority ", "local"},
		{"run --sidecar ", "unix:///"},
		{"run --authority-profile ", "developer"},
		{"run --config ", "yaml"},
		{"authority iss", "issue\tSign"},
		{"audit ", "verify\t"},
	} {
		words := append([]string{"__complete"}, strings.Split(c.line, " ")...)
		if got := helpOf(t, words...); !strings.Contains("\n"+got, "\n"+c.want) {
			t.Errorf("%q: %s", c.line, got)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := helpOf(t, "completion", shell); !strings.Contains(got, "firma") {
			t.Errorf("%s: %.100s", shell, got)
		}
	}
}

// The defaults that the guide's flag table names.
func TestDefaults(t *testing.T) {
	want := map[string]string{"sidecar-startup-timeout-secs": "10", "authority-profile": "developer", "no-autostart": "false"}
	for _, c := range rootCommand().Commands() {
		if c.Name() == "run" {
			for name, def := range want {
				if got := c.Flags().Lookup(name).DefValue; got != def {
					t.Errorf("--%s is %s by default, want %s", name, got, def)
				}
			}
		}
	}
}
