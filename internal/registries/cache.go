package registries

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const cacheName = "registries.json"

// cached is registries.json. Whoever can write it can name hosts that a run
// without configuration allows, so it is read as strictly as it was written.
type cached struct {
	Key        string     `json:"key"`
	Until      time.Time  `json:"until"`
	Registries []Registry `json:"registries"`
}

var errCache = errors.New("not a cache file of this version")

// readCache returns the kept answer if it was made from the same facts, is not
// too old, and lies in a file that only this user can write.
func readCache(h *host, key string) ([]Registry, bool) {
	if h.CacheDir == "" {
		return nil, false
	}
	data, err := readOwn(filepath.Join(h.CacheDir, cacheName))
	if err != nil {
		if !os.IsNotExist(err) {
			h.log.Warn("registry cache ignored", "error", err)
		}
		return nil, false
	}
	c, err := parseCache(data)
	if err != nil {
		h.log.Warn("registry cache ignored", "error", err)
		return nil, false
	}
	fresh := c.Key == key && h.now().Before(c.Until) && !c.Until.After(h.now().Add(goodFor))
	return c.Registries, fresh
}

func readOwn(path string) ([]byte, error) {
	f, err := openOwn(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

func parseCache(data []byte) (cached, error) {
	var c cached
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return cached{}, errCache
	}
	if _, err := dec.Token(); err != io.EOF {
		return cached{}, errCache
	}
	for _, r := range c.Registries {
		if !knownClient(r.Client) || !validHost(r.Host) {
			return cached{}, errCache
		}
	}
	return c, nil
}

func knownClient(name string) bool {
	return slices.ContainsFunc(sources(), func(s source) bool { return s.name == name })
}

// writeCache keeps the answer. A cache that can't be written costs time, not the
// run, so it is only logged.
func writeCache(h *host, key string, found []Registry, whole bool) {
	if h.CacheDir == "" {
		return
	}
	life := goodFor
	if !whole {
		life = failedFor
	}
	data, err := json.Marshal(cached{key, h.now().Add(life).UTC(), found})
	if err == nil {
		err = replaceOwn(h.CacheDir, data)
	}
	if err != nil {
		h.log.Warn("registry cache not written", "error", err)
	}
}

// replaceOwn writes through a temporary file, so that a reader in another run
// sees the old or the new answer and never a part.
func replaceOwn(dir string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, cacheName+".*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, cacheName))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
