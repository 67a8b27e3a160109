package registries

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// cargo's registries are taken only where its own file or variables name one: a
// source that replaces the default, or a registry of the operator's own. A
// project's .cargo/config.toml doesn't count.
var cargoSource = source{name: "cargo", facts: cargoFacts, ask: askCargo}

func cargoFacts(h *host) []string {
	var facts []string
	for _, f := range h.cargoFiles() {
		facts = append(facts, h.fileFact(f))
	}
	return append(facts, h.envPrefixed("CARGO_HOME", "CARGO_REGISTRIES_", "CARGO_SOURCE_")...)
}

func (h *host) cargoFiles() []string {
	dir := h.env["CARGO_HOME"]
	if dir == "" {
		dir = h.home(".cargo")
	}
	return absolute([]string{filepath.Join(dir, "config"), filepath.Join(dir, "config.toml")})
}

func askCargo(_ context.Context, h *host) ([]string, error) {
	urls := h.cargoEnv()
	for _, f := range h.cargoFiles() {
		data, err := readSmall(f)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := cargoConfig(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		urls = append(urls, found...)
	}
	for i, u := range urls {
		urls[i] = strings.TrimPrefix(u, "sparse+")
	}
	return urls, nil
}

func (h *host) cargoEnv() []string {
	var urls []string
	for k, v := range h.env {
		index := strings.HasPrefix(k, "CARGO_REGISTRIES_") && strings.HasSuffix(k, "_INDEX")
		source := strings.HasPrefix(k, "CARGO_SOURCE_") && strings.HasSuffix(k, "_REGISTRY")
		if index || source {
			urls = append(urls, v)
		}
	}
	return urls
}

// cargoConfig reads [source.NAME] registry and [registries.NAME] index. Names are as
// cargo takes them, which tells capitals from small letters; filling a struct would not.
func cargoConfig(data []byte) ([]string, error) {
	var c map[string]any
	if err := toml.Unmarshal(data, &c); err != nil {
		return nil, err
	}
	var urls []string
	for table, key := range map[string]string{"source": "registry", "registries": "index"} {
		entries, _ := c[table].(map[string]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			if url, ok := entry[key].(string); ok {
				urls = append(urls, url)
			}
		}
	}
	return urls, nil
}
