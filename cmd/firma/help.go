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

// readableHelp lays out flags for 80 columns: the library's own layout leaves a
// long flag's description no room.
func readableHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("flagHelp", flagHelp)
	t := root.UsageTemplate()
	t = strings.ReplaceAll(t, ".LocalFlags.FlagUsages", "(flagHelp .LocalFlags)")
	root.SetUsageTemplate(strings.ReplaceAll(t, ".InheritedFlags.FlagUsages", "(flagHelp .InheritedFlags)"))
}

func flagHelp(fs *pflag.FlagSet) string {
	var b strings.Builder
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			writeFlag(&b, f)
		}
	})
	return b.String()
}

// writeFlag prints one flag. Its usage may start with the name of its value, in
// back quotes.
func writeFlag(b *strings.Builder, f *pflag.Flag) {
	value, usage := "", f.Usage
	if rest, quoted := strings.CutPrefix(usage, "`"); quoted {
		value, usage, _ = strings.Cut(rest, "`")
	}
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
