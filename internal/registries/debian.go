package registries

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Debian's sources are files that belong to root, in two formats: one line per
// source (*.list) and stanzas of fields (*.sources); see sources.list(5).
var debianSource = source{name: "debian", facts: debianFacts, ask: askDebian}

func debianFacts(h *host) []string {
	files := h.aptFiles()
	facts := []string{h.fileFact(h.system("/etc/apt/sources.list.d"))}
	for _, f := range files {
		facts = append(facts, h.fileFact(f))
	}
	return facts
}

func (h *host) aptFiles() []string {
	files := []string{h.system("/etc/apt/sources.list")}
	dir := h.system("/etc/apt/sources.list.d")
	entries, _ := os.ReadDir(dir) // absent on other systems: no sources
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".list" || ext == ".sources" {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}

func askDebian(_ context.Context, h *host) ([]string, error) {
	var urls []string
	for _, f := range h.aptFiles() {
		data, err := readSmall(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if filepath.Ext(f) == ".sources" {
			urls = append(urls, aptStanzas(string(data))...)
		} else {
			urls = append(urls, aptLines(string(data))...)
		}
	}
	return urls, nil
}

// aptLines reads "deb [option=value …] uri suite [component …]". Options may hold
// spaces between their brackets.
func aptLines(text string) []string {
	var urls []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if f := strings.Fields(rest); len(f) > 1 {
			urls = append(urls, f[0])
		}
	}
	return urls
}

// aptStanzas reads deb822: stanzas between blank lines, "Field: value", a value
// going on in lines that start with a blank. A stanza with "Enabled: no" adds
// nothing.
func aptStanzas(text string) []string {
	var urls []string
	for _, stanza := range splitStanzas(text) {
		fields := stanzaFields(stanza)
		switch strings.ToLower(strings.Join(fields["enabled"], "")) {
		case "no", "false", "0", "off", "disable", "without":
			continue
		}
		urls = append(urls, fields["uris"]...)
	}
	return urls
}

func splitStanzas(text string) [][]string {
	var all [][]string
	var one []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if line != "" {
			one = append(one, line)
			continue
		}
		all, one = append(all, one), nil
	}
	return append(all, one)
}

func stanzaFields(lines []string) map[string][]string {
	fields := map[string][]string{}
	current := ""
	for _, line := range lines {
		value := line
		if line[0] != ' ' && line[0] != '\t' {
			name, v, _ := strings.Cut(line, ":")
			current, value = strings.ToLower(name), v
			delete(fields, current)
		}
		fields[current] = slices.Concat(fields[current], strings.Fields(value))
	}
	return fields
}
