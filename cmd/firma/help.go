package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is the terminal that every help text fits.
const helpWidth = 80

// helpColumn is where descriptions of flags start.
const helpColumn = 26

// Annotations of flags and commands.
const (
	valueNote = "value" // the name of a flag's value
	groupNote = "group" // the heading a flag is listed under
	holdsNote = "holds" // a command that only holds others
)

// readableHelp lays out flags for 80 columns: the library's own layout leaves a
// long flag's description no room.
func readableHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("flagHelp", flagHelp)
	cobra.AddTemplateFunc("runs", func(c *cobra.Command) bool { return c.Runnable() && c.Annotations[holdsNote] == "" })
	root.SetUsageTemplate(strings.NewReplacer(
		".LocalFlags.FlagUsages", "(flagHelp .LocalFlags)",
		".InheritedFlags.FlagUsages", "(flagHelp .InheritedFlags)",
		"Usage:{{if .Runnable}}", "Usage:{{if runs .}}",
		"Available Commands:", "Commands:",
		"Additional Commands:", "About firma:",
		`Use "{{.CommandPath}} [command] --help" for more information about a command.`, "More: {{.CommandPath}} [command] --help",
		"Global Flags:", "Flags of every command:",
	).Replace(root.UsageTemplate()))
}

// settleHelp takes the names of values out of the usage texts of all flags, where
// they stand first, in back quotes, so that completion shows the bare text; and
// lays out long texts.
func settleHelp(cmd *cobra.Command) {
	for _, fs := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		fs.VisitAll(func(f *pflag.Flag) {
			if rest, quoted := strings.CutPrefix(f.Usage, "`"); quoted {
				var value string
				value, f.Usage, _ = strings.Cut(rest, "`")
				f.Usage = strings.TrimSpace(f.Usage)
				note(f, valueNote, value)
			}
		})
	}
	cmd.Long = paragraphs(cmd.Long)
	for _, sub := range cmd.Commands() {
		settleHelp(sub)
	}
}

func note(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

func noted(f *pflag.Flag, key string) string { return strings.Join(f.Annotations[key], "") }

// under lists flags of a set below a heading of their own. The set keeps the order
// in which they were defined.
func under(fs *pflag.FlagSet, heading string, names ...string) {
	for _, name := range names {
		note(fs.Lookup(name), groupNote, heading)
	}
}

func flagHelp(fs *pflag.FlagSet) string {
	var b strings.Builder
	group := ""
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if g := noted(f, groupNote); g != group {
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			if group = g; g != "" {
				b.WriteString("  " + g + ":\n")
			}
		}
		writeFlag(&b, f)
	})
	return b.String()
}

func writeFlag(b *strings.Builder, f *pflag.Flag) {
	value, usage := noted(f, valueNote), f.Usage
	head := "      --" + f.Name
	if f.Shorthand != "" {
		head = "  -" + f.Shorthand + ", --" + f.Name
	}
	if value != "" {
		head += " " + value
	}
	if len(head) > helpColumn-2 {
		b.WriteString(head + "\n")
		head = ""
	}
	fmt.Fprintf(b, "%-*s", helpColumn, head)
	for i, line := range wrap(usage, helpWidth-helpColumn) {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", helpColumn))
		}
		b.WriteString(line + "\n")
	}
}

// paragraphs lays out a text of paragraphs, however its lines were broken.
func paragraphs(text string) string {
	if text == "" {
		return ""
	}
	parts := strings.Split(text, "\n\n")
	for i, p := range parts {
		parts[i] = strings.Join(wrap(p, helpWidth), "\n")
	}
	return strings.Join(parts, "\n\n")
}

// wrap breaks text between words into lines of at most width columns.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
