package registries

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// npm is asked for its whole configuration, since a company's scopes may have
// registries of their own ("@scope:registry"). Project files don't count: it runs
// in the neutral directory, and without the variable by which a script that npm
// itself started would point at its project.
var npmSource = source{name: "npm", facts: npmFacts, ask: askNpm}

func npmFacts(h *host) []string {
	exe := h.lookPath("npm")
	if exe == "" {
		return nil
	}
	facts := []string{exeFact(exe), h.fileFact(h.npmUserConfig())}
	for _, f := range h.npmGlobalConfigs(exe) {
		facts = append(facts, h.fileFact(f))
	}
	return append(facts, h.envPrefixed("npm_config_", "PREFIX", "NODE_OPTIONS")...)
}

func (h *host) npmUserConfig() string {
	if f := h.envFold("npm_config_userconfig"); f != "" {
		return f
	}
	return h.home(".npmrc")
}

// npmGlobalConfigs lists where npm may keep its global and built-in files: beside
// the prefix it is installed under, and in its own package.
func (h *host) npmGlobalConfigs(exe string) []string {
	if f := h.envFold("npm_config_globalconfig"); f != "" {
		return []string{f}
	}
	files := []string{filepath.Join(filepath.Dir(filepath.Dir(exe)), "etc", "npmrc"), h.system("/etc/npmrc")}
	if p := h.envFold("npm_config_prefix"); p != "" {
		files = append(files, filepath.Join(p, "etc", "npmrc"))
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		files = append(files, filepath.Join(filepath.Dir(filepath.Dir(real)), "npmrc"))
	}
	return files
}

func (h *host) envFold(name string) string {
	for k, v := range h.env {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

func askNpm(ctx context.Context, h *host) ([]string, error) {
	exe := h.lookPath("npm")
	if exe == "" {
		return nil, nil
	}
	quiet := []string{"npm_config_local_prefix=", "npm_config_logs_max=0", "npm_config_update_notifier=false"}
	if runtime.GOOS != "windows" {
		// Asking must not make ~/.npm in a home that has none; npm copes with a
		// cache that can't exist.
		quiet = append(quiet, "npm_config_cache="+os.DevNull+"/none")
	}
	out, err := h.run(ctx, exe, quiet, "config", "list", "--json")
	if err != nil {
		return nil, err
	}
	return npmRegistries(out)
}

func npmRegistries(out []byte) ([]string, error) {
	var all map[string]any
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("npm's configuration is not JSON: %w", err)
	}
	var urls []string
	for k, v := range all {
		url, ok := v.(string)
		scoped := strings.HasPrefix(k, "@") && strings.HasSuffix(k, ":registry")
		if ok && (k == "registry" || scoped) {
			urls = append(urls, url)
		}
	}
	return urls, nil
}
