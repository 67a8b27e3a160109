package authority

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"firma/internal/authority/bundle"
	"firma/internal/authority/revocation"
)

// watched is one source on disk. Its fingerprint changes when the content may
// have; reload is called when it has changed and, with settle, stayed the same
// for one interval: an editor may write a file in two steps, and half of a
// policy file can be valid and say less.
type watched struct {
	fingerprint func() string
	reload      func() error
	settle      bool
	failed      string // what to say when reload fails

	loaded, last string
}

// watch looks at the files every Poll until ctx ends. Without files it returns at
// once.
func (a *Authority) watch(ctx context.Context) {
	sources := a.sources()
	if len(sources) == 0 {
		return
	}
	for {
		select {
		case <-a.cfg.After(a.cfg.Poll):
		case <-ctx.Done():
			return
		}
		for _, w := range sources {
			a.look(w)
		}
	}
}

// sources lists what is on disk. Their first fingerprint is empty, so a change
// between loading and watching is not missed: each is read once more.
func (a *Authority) sources() []*watched {
	var all []*watched
	if dir := a.cfg.PolicyDir; dir != "" {
		all = append(all, &watched{fingerprint: func() string { return dirPrint(dir) }, reload: a.reloadBundle,
			settle: true, failed: "policies not reloaded: the previous bundle stays"})
	}
	if dir := a.cfg.IssuancePolicyDir; dir != "" {
		all = append(all, &watched{fingerprint: func() string { return dirPrint(dir) }, reload: a.reloadIssuance,
			settle: true, failed: "issuance policies not reloaded: the previous ones stay"})
	}
	if path := a.cfg.RevocationFile; path != "" {
		all = append(all, &watched{fingerprint: func() string { return filePrint(path) }, reload: a.reloadRevocations,
			failed: "revocations not all read: those already known stay"})
	}
	return all
}

func (a *Authority) look(w *watched) {
	now := w.fingerprint()
	settled := now == w.last || !w.settle
	w.last = now
	if now == w.loaded || !settled {
		return
	}
	w.loaded = now // a failure is reported once, not every second
	if err := w.reload(); err != nil {
		a.cfg.Log.Error(w.failed, "error", err)
	}
}

func (a *Authority) readBundle() (*bundle.Bundle, error) {
	text, where, err := policyText(a.cfg.Policies, a.cfg.PoliciesFrom, a.cfg.PolicyDir)
	if err != nil {
		return nil, err
	}
	b, _, err := bundle.New(where, text, a.cfg.Schema, a.cfg.BundleTTL, a.cfg.Now())
	return b, err
}

func policyText(text []byte, from, dir string) (_ []byte, where string, err error) {
	if dir == "" {
		return text, from, nil
	}
	text, err = bundle.Read(dir)
	return text, dir, err
}

func (a *Authority) reloadBundle() error {
	b, err := a.readBundle()
	if err != nil {
		return err
	}
	old, _ := a.bundles.Current()
	if old.Version == b.Version {
		return nil
	}
	a.bundles.Set(b)
	a.cfg.Log.Info("policy bundle changed", "version", b.Version, "previous", old.Version)
	return nil
}

func (a *Authority) reloadIssuance() error {
	text, where, err := policyText(a.cfg.IssuancePolicies, a.cfg.IssuanceFrom, a.cfg.IssuancePolicyDir)
	if err != nil {
		return err
	}
	_, compiled, err := bundle.New(where, text, a.cfg.Schema, a.cfg.BundleTTL, a.cfg.Now())
	if err != nil {
		return err
	}
	a.issuer.SetPolicy(compiled)
	return nil
}

func (a *Authority) reloadRevocations() error {
	entries, err := revocation.Read(a.cfg.RevocationFile)
	if n := a.revocations.Merge(entries, a.cfg.Now()); n > 0 {
		a.cfg.Log.Info("tokens revoked", "count", n)
	}
	return err
}

// dirPrint covers the names, sizes and times of the policy files in dir.
func dirPrint(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".cedar" {
			b.WriteString(e.Name() + " " + filePrint(filepath.Join(dir, e.Name())) + "\n")
		}
	}
	return b.String()
}

func filePrint(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
}
