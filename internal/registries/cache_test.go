package registries

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPlantedCacheIsIgnored plants a cache with the right key in every form that
// somebody other than this user, or another version, could have made.
func TestPlantedCacheIsIgnored(t *testing.T) {
	cases := map[string]func(t *testing.T, m *machine, path string, good cached){
		"other owner": func(t *testing.T, m *machine, path string, good cached) {
			if os.Getuid() != 0 {
				t.Skip("only root can give a file away")
			}
			m.plant(path, good)
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		},
		"group may write": func(t *testing.T, m *machine, path string, good cached) {
			m.plant(path, good)
			chmod(t, path, 0o620)
		},
		"others may write": func(t *testing.T, m *machine, path string, good cached) {
			m.plant(path, good)
			chmod(t, path, 0o602)
		},
		"symbolic link": func(t *testing.T, m *machine, path string, good cached) {
			m.plant(path+".real", good)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path+".real", path); err != nil {
				t.Fatal(err)
			}
		},
		"valid for years": func(_ *testing.T, m *machine, path string, good cached) {
			good.Until = good.Until.AddDate(10, 0, 0)
			m.plant(path, good)
		},
		"run out": func(_ *testing.T, m *machine, path string, good cached) {
			good.Until = m.now
			m.plant(path, good)
		},
		"other key": func(_ *testing.T, m *machine, path string, good cached) {
			good.Key = strings.Repeat("0", 64)
			m.plant(path, good)
		},
		"unknown client": func(_ *testing.T, m *machine, path string, good cached) {
			good.Registries[0].Client = "curl"
			m.plant(path, good)
		},
		"wildcard host": func(_ *testing.T, m *machine, path string, good cached) {
			good.Registries[0].Host = "*"
			m.plant(path, good)
		},
		"not canonical": func(_ *testing.T, m *machine, path string, good cached) {
			good.Registries[0].Host = "Planted.test"
			m.plant(path, good)
		},
		"unknown field": func(_ *testing.T, m *machine, path string, _ cached) {
			m.write(path, `{"key":"","until":"2026-11-24T00:00:00Z","registries":[],"more":1}`, 0o600)
		},
		"two values": func(_ *testing.T, m *machine, path string, good cached) {
			data, _ := json.Marshal(good)
			m.write(path, string(data)+string(data), 0o600)
		},
		"empty": func(_ *testing.T, m *machine, path string, _ cached) { m.write(path, "", 0o600) },
	}
	for name, plant := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.fakes()
			m.discover()
			path := m.cache + "/registries.json"
			key := fingerprint(newHost(m.options()))
			good := cached{key, m.now.Add(time.Hour), []Registry{{"npm", "planted.test"}}}
			m.plant(path, good)
			if got := m.discover(); len(got) != 1 || got[0].Host != "planted.test" {
				t.Fatalf("control: an honest cache is not read: %v", got)
			}
			plant(t, m, path, good)
			for _, r := range m.discover() {
				if r.Host == "planted.test" {
					t.Errorf("a planted cache named %v", r)
				}
			}
		})
	}
}

func (m *machine) plant(path string, c cached) {
	data, err := json.Marshal(c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(path, string(data), 0o600)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestUnwritableCacheCostsOnlyTime(t *testing.T) {
	m := newMachine(t)
	m.fakes()
	m.write(m.cache, "a file where the directory should be", 0o644)
	if got := m.discover(); len(got) == 0 {
		t.Error("no answer without a cache")
	}
	if !strings.Contains(m.log.String(), "cache not written") {
		t.Errorf("not logged:\n%s", m.log.String())
	}
}

func FuzzParseCache(f *testing.F) {
	f.Add([]byte(`{"key":"k","until":"2026-11-24T00:00:00Z","registries":[{"client":"npm","host":"a.test"}]}`))
	f.Add([]byte(`{"registries":[{"client":"go","host":"[::1]:81"}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCache(data)
		if err != nil {
			return
		}
		for _, r := range c.Registries {
			if !validHost(r.Host) || strings.ContainsAny(r.Host, "*/@ \n") {
				t.Errorf("accepted host %q", r.Host)
			}
		}
	})
}

func BenchmarkCachedDiscover(b *testing.B) {
	t := &testing.T{}
	m := &machine{t: t, bin: b.TempDir(), home: b.TempDir(), root: "", cache: b.TempDir(), now: time.Now(), timeout: time.Minute}
	m.fakes()
	o := m.options()
	if _, err := Discover(b.Context(), o); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Discover(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
	if m.calls("npm") != 1 {
		b.Fatal("the cache was not used")
	}
}
