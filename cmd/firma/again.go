package main

import (
	"slices"
	"strings"
)

// maxAgain bounds a command line that is shown with its advice; a longer one hides
// the advice.
const maxAgain = 160

// again is what followed `firma run` on the command line, quoted for a shell; "" for
// what is long, or has more than one line.
func again(args []string) string {
	at := slices.Index(args, "run")
	if at < 0 {
		return ""
	}
	var words []string
	for _, a := range args[at+1:] {
		words = append(words, quoted(a))
	}
	line := strings.Join(words, " ")
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	if len(line) > maxAgain || strings.ContainsFunc(line, odd) {
		return ""
	}
	return line
}

func quoted(word string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-", r)
	}
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
