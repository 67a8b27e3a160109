package registries

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// pip's index is taken only where somebody configured one: its variables and its
// machine and user files. A virtual environment's file is left out, since it lies
// in the project as a rule.
var pipSource = source{name: "pip", facts: pipFacts, ask: askPip}

func pipFacts(h *host) []string {
	var facts []string
	for _, f := range h.pipFiles() {
		facts = append(facts, h.fileFact(f))
	}
	return append(facts, h.envPrefixed("PIP_", "XDG_CONFIG_")...)
}

// pipFiles is in pip's order: a later file overrides an earlier one.
func (h *host) pipFiles() []string {
	own := h.env["PIP_CONFIG_FILE"]
	if own == os.DevNull {
		return nil
	}
	var files []string
	dirs := h.env["XDG_CONFIG_DIRS"]
	if dirs == "" {
		dirs = h.system("/etc/xdg")
	}
	for _, d := range filepath.SplitList(dirs) {
		files = append(files, filepath.Join(d, "pip", "pip.conf"))
	}
	files = append(files, h.system("/etc/pip.conf"), h.home(".pip", "pip.conf"))
	if x := h.env["XDG_CONFIG_HOME"]; x != "" {
		files = append(files, filepath.Join(x, "pip", "pip.conf"))
	} else {
		files = append(files, h.home(".config", "pip", "pip.conf"))
	}
	files = append(files, h.home("Library", "Application Support", "pip", "pip.conf"))
	if a := h.env["APPDATA"]; a != "" {
		files = append(files, filepath.Join(a, "pip", "pip.ini"))
	}
	if own != "" {
		files = append(files, own)
	}
	return absolute(files)
}

func absolute(files []string) []string {
	var kept []string
	for _, f := range files {
		if filepath.IsAbs(f) {
			kept = append(kept, f)
		}
	}
	return kept
}

func askPip(_ context.Context, h *host) ([]string, error) {
	set := map[string]string{}
	for _, f := range h.pipFiles() {
		data, err := readSmall(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pipConfig(string(data), set)
	}
	pipEnv(h, set)
	var urls []string
	for _, v := range set {
		urls = append(urls, strings.Fields(v)...)
	}
	return urls, nil
}

// pipConfig adds the index settings of one file to set, by "section.key". The
// format is Python's configparser: sections, "key = value" or "key: value",
// values going on in indented lines.
func pipConfig(text string, set map[string]string) {
	section, key := "", ""
	for line := range strings.Lines(text) {
		indented := line[0] == ' ' || line[0] == '\t'
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case indented && key != "":
			set[key] += " " + line
		case line[0] == '[':
			section, key = strings.Trim(line, "[]"), ""
		default:
			key = pipKey(section, line, set)
		}
	}
}

// pipKey returns the key a line sets, or "" when it is no index setting.
func pipKey(section, line string, set map[string]string) string {
	i := strings.IndexAny(line, "=:")
	if i < 0 {
		return ""
	}
	name := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(line[:i])), "_", "-")
	if name != "index-url" && name != "extra-index-url" {
		return ""
	}
	key := section + "." + name
	set[key] = strings.TrimSpace(line[i+1:])
	return key
}

// pipEnv lets a variable replace what every file says.
func pipEnv(h *host, set map[string]string) {
	for key, name := range map[string]string{"index-url": "PIP_INDEX_URL", "extra-index-url": "PIP_EXTRA_INDEX_URL"} {
		v := h.env[name]
		if v == "" {
			continue
		}
		maps.DeleteFunc(set, func(k, _ string) bool { return strings.HasSuffix(k, "."+key) })
		set["env."+key] = v
	}
}
