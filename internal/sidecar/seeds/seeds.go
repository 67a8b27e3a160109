// Package seeds keeps a Sidecar's pre-staged capabilities: read and verified at
// start, and again when a file is rewritten.
package seeds

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"firma/internal/capability"
	"firma/internal/fault"
	"firma/internal/verdict"
)

// DefaultPoll is how often the files are looked at.
const DefaultPoll = time.Second

// maxBytes is more than any seed has; what is larger is refused when parsed.
const maxBytes = 128 << 10

// Config names the files and what they verify with.
type Config struct {
	Paths []string          // absolute
	Key   ed25519.PublicKey // the issuer's; 32 bytes
	Skew  time.Duration     // how far the issuer's clock may differ
	Log   *slog.Logger

	Poll  time.Duration // 0: DefaultPoll
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Seeds holds the verified capabilities. Tokens is safe for concurrent use.
type Seeds struct {
	cfg    Config
	tokens atomic.Pointer[capability.Set]
	seen   string // fingerprint of the files as last read
}

// Load reads and verifies every file. One that can't be used refuses all of them,
// with a fault that names it.
func Load(cfg Config) (*Seeds, error) {
	if cfg.Poll <= 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	s := &Seeds{cfg: cfg}
	return s, s.read()
}

// Tokens returns the current capabilities; never nil after Load. One in it may
// have expired since: Select checks.
func (s *Seeds) Tokens() *capability.Set { return s.tokens.Load() }

// read replaces the capabilities by what is in the files now, if all of it is
// good.
func (s *Seeds) read() error {
	s.seen = s.fingerprint() // before the files: a change while reading is seen next time
	var tokens []*capability.Token
	for _, path := range s.cfg.Paths {
		data, err := readFile(path)
		if err != nil {
			return fault.Wrap(err, "CapabilityFileUnreadable", "the capability seed "+path+" can't be read",
				"issue one with `firma authority issue --agent-id ID --session-id ID --action CLASS --output "+path+"`, or correct the path")
		}
		t, err := Verify(path, data, s.cfg.Key, s.cfg.Now(), s.cfg.Skew)
		if err != nil {
			return err
		}
		tokens = append(tokens, t)
	}
	s.tokens.Store(capability.NewSet(tokens...))
	return nil
}

// readFile opens nothing that could block or never end.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes))
}

// Verify returns the capability in the seed data. name is used in faults only.
func Verify(name string, data []byte, key ed25519.PublicKey, now time.Time, skew time.Duration) (*capability.Token, error) {
	seed, err := capability.ParseSeed(name, data)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PublicKeySize {
		return nil, fault.New("CapabilityKeyMissing", "the capability "+name+" can't be verified: the public key of its issuer is not known",
			"pass the configuration that issued it (--config FILE), or set public_key_path in [sidecar.authority] to the .pub file beside the issuer's key")
	}
	t, err := seed.Token(key, now, skew)
	if err == nil {
		return t, nil
	}
	var e *capability.Error
	if errors.As(err, &e) && e.Reason == verdict.CapabilityExpired {
		return nil, fault.New("CapabilityExpired", "the capability "+name+" can't be used: "+e.Detail, "issue a new one: firma authority issue --output "+name+" …")
	}
	return nil, fault.Wrap(err, "CapabilitySeedInvalid", "the capability "+name+" can't be used",
		"issue it again, or set public_key_path in [sidecar.authority] to the .pub of the key that signed it")
}

// Watch takes rewritten files until ctx ends. A bad one keeps everything as it
// was, which is logged once for each rewrite.
func (s *Seeds) Watch(ctx context.Context) {
	for {
		select {
		case <-s.cfg.After(s.cfg.Poll):
		case <-ctx.Done():
			return
		}
		if s.fingerprint() == s.seen {
			continue
		}
		if err := s.read(); err != nil {
			s.cfg.Log.Error("capability seeds not reloaded: the previous ones stay", "error", err)
			continue
		}
		s.cfg.Log.Info("capability seeds reloaded", "count", s.Tokens().Len())
	}
}

func (s *Seeds) fingerprint() string {
	var b strings.Builder
	for _, path := range s.cfg.Paths {
		info, err := os.Stat(path)
		if err != nil {
			b.WriteString("unreadable\n")
			continue
		}
		fmt.Fprintf(&b, "%d %d\n", info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}
