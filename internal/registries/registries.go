// Package registries says which package registries this host's own clients are
// configured for, so that a run without any configuration can allow them: npm and
// go are asked, the files of Debian, pip and cargo are read. It runs in the
// launcher, on the host. No registry is known by name: a client that is absent, or
// that names none, adds none.
package registries

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Registry is one host that a client is configured to fetch packages from. Host
// is canonical: lower case, no trailing dot, with ":port" unless 80 or 443, IPv6
// literals in brackets when a port follows.
type Registry struct {
	Client string `json:"client"` // "cargo", "debian", "go", "npm" or "pip"
	Host   string `json:"host"`
}

// Options says where to look. Nothing is taken from the process itself, so a
// caller decides whose configuration counts.
type Options struct {
	CacheDir string       // directory of registries.json; "" caches nothing
	Home     string       // the operator's home directory, absolute
	Env      []string     // the operator's environment, as os.Environ gives it
	Log      *slog.Logger // nil discards

	root    string           // prefix of the system's own files; "" outside tests
	now     func() time.Time // nil is time.Now
	timeout time.Duration    // per client; 0 is 3 s
}

const (
	clientTimeout = 3 * time.Second
	// The cache answers for what its key can't see (a variable that a client's
	// file refers to) for a day, and for a client that failed only shortly.
	goodFor   = 24 * time.Hour
	failedFor = 10 * time.Minute
)

// source is one kind of client: what its answer depends on, and how to get it.
type source struct {
	name  string
	facts func(*host) []string                                    // lines; equal lines, equal answer
	ask   func(context.Context, *host) (urls []string, err error) // nil, nil when the client is absent
}

func sources() []source {
	return []source{cargoSource, debianSource, goSource, npmSource, pipSource}
}

// Discover returns the registries, sorted by client and host. Clients take a
// tenth of a second and more, so the answer is kept in CacheDir and read from
// there, by stat calls alone, until a client, a file or a variable it depends on
// changes. A client that fails or takes longer than 3 s is left out and logged;
// the only error is that of ctx. Safe for concurrent use, also between processes.
func Discover(ctx context.Context, o Options) ([]Registry, error) {
	h := newHost(o)
	key := fingerprint(h)
	if found, ok := readCache(h, key); ok {
		return found, nil
	}
	found, whole := askAll(ctx, h)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	writeCache(h, key, found, whole)
	return found, nil
}

// askAll asks every source at the same time. whole is false if one failed.
func askAll(ctx context.Context, h *host) (found []Registry, whole bool) {
	all := sources()
	urls := make([][]string, len(all))
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, h.timeout)
			defer cancel()
			urls[i], errs[i] = s.ask(ctx, h)
		})
	}
	wg.Wait()
	whole = true
	for i, s := range all {
		if errs[i] != nil {
			whole = false
			h.log.Warn("package client not asked", "client", s.name, "error", errs[i])
			continue
		}
		found = append(found, collect(h, s.name, urls[i])...)
	}
	return tidy(found), whole
}

func collect(h *host, client string, urls []string) []Registry {
	var found []Registry
	for _, u := range urls {
		name, err := hostOf(u)
		if err != nil {
			h.log.Debug("registry address skipped", "client", client, "error", err)
			continue
		}
		found = append(found, Registry{client, name})
	}
	return found
}

func tidy(r []Registry) []Registry {
	slices.SortFunc(r, func(a, b Registry) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Host, b.Host))
	})
	return slices.Compact(r)
}

// host is the machine as one Discover call sees it: its environment looked up by
// name, its files under root.
type host struct {
	Options
	env map[string]string
	log *slog.Logger
}

func newHost(o Options) *host {
	h := &host{Options: o, env: envMap(o.Env), log: o.Log}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.timeout == 0 {
		h.timeout = clientTimeout
	}
	return h
}

// system returns the path of a file that belongs to the machine, not to a user.
func (h *host) system(path string) string { return filepath.Join(h.root, path) }

// home returns a path under the operator's home, or "" when there is none.
func (h *host) home(elem ...string) string {
	if !filepath.IsAbs(h.Home) {
		return ""
	}
	return filepath.Join(append([]string{h.Home}, elem...)...)
}
