package registries

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// go is asked for its module proxies and for the checksum database it checks them
// against. "direct" names no host and adds none.
var goSource = source{name: "go", facts: goFacts, ask: askGo}

func goFacts(h *host) []string {
	exe := h.lookPath("go")
	if exe == "" {
		return nil
	}
	facts := []string{exeFact(exe), h.fileFact(h.goEnvFile())}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		facts = append(facts, h.fileFact(filepath.Join(filepath.Dir(filepath.Dir(real)), "go.env")))
	}
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GOENV", "GOROOT"} {
		facts = append(facts, name+"="+h.env[name])
	}
	return facts
}

// goEnvFile is where `go env -w` writes (cmd/go: os.UserConfigDir).
func (h *host) goEnvFile() string {
	if f := h.env["GOENV"]; f != "" {
		return f
	}
	switch {
	case runtime.GOOS == "windows":
		return filepath.Join(h.env["AppData"], "go", "env")
	case runtime.GOOS == "darwin":
		return h.home("Library", "Application Support", "go", "env")
	case h.env["XDG_CONFIG_HOME"] != "":
		return filepath.Join(h.env["XDG_CONFIG_HOME"], "go", "env")
	}
	return h.home(".config", "go", "env")
}

func askGo(ctx context.Context, h *host) ([]string, error) {
	exe := h.lookPath("go")
	if exe == "" {
		return nil, nil
	}
	// A newer toolchain, if the operator asks for one, must not be fetched to
	// answer this.
	out, err := h.run(ctx, exe, []string{"GOTOOLCHAIN=local", "GOWORK=off"}, "env", "-json", "GOPROXY", "GOSUMDB")
	if err != nil {
		return nil, err
	}
	var v struct{ GOPROXY, GOSUMDB string }
	if err := json.Unmarshal(out, &v); err != nil {
		return nil, fmt.Errorf("go env is not JSON: %w", err)
	}
	return append(goProxies(v.GOPROXY), goSumDB(v.GOSUMDB)...), nil
}

func goProxies(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' })
}

// goSumDB reads "name[+hash+key] [url]"; without a url the name is the host.
func goSumDB(s string) []string {
	f := strings.Fields(s)
	if len(f) == 0 || f[0] == "off" {
		return nil
	}
	if len(f) > 1 {
		return f[1:2]
	}
	name, _, _ := strings.Cut(f[0], "+")
	return []string{"https://" + name}
}
