package policy

import (
	"bytes"
	"strings"
	"unicode"
)

// fileMark starts the comment that Join puts above each file, so that whoever
// compiles the joined text, in whatever process, can name the file of a problem.
const fileMark = "// file: "

// File is one file of policies.
type File struct {
	Name string // as problems shall name it
	Text []byte
}

// Join makes one text of several files, each under a comment that names it. A file
// that does not end its last line gets it ended, since a comment there would
// otherwise swallow the next file's first policy.
func Join(files []File) []byte {
	var text bytes.Buffer
	for _, f := range files {
		text.WriteString(fileMark + oneLine(f.Name) + "\n")
		text.Write(f.Text)
		if len(f.Text) > 0 && f.Text[len(f.Text)-1] != '\n' {
			text.WriteByte('\n')
		}
	}
	return text.Bytes()
}

func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, name)
}

// inFiles moves the places of problems from a joined text into its files. A text
// that was not joined is left as it is.
func inFiles(text []byte, problems []Problem) []Problem {
	marks := map[int]string{}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if name, ok := bytes.CutPrefix(line, []byte(fileMark)); ok {
			marks[n] = string(bytes.TrimRight(name, "\r\n"))
		}
	}
	for i := range problems {
		p := &problems[i]
		for line := p.Line; line > 0; line-- {
			if name, ok := marks[line]; ok {
				p.File, p.Line = name, max(p.Line-line, 1)
				break
			}
		}
	}
	return problems
}
