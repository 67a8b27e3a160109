// Package artifact keeps the compiled syscall filter on disk and proves, at every
// launch, that it is what the policy says. An artifact is a directory
//
//	<artifact dir>/<policy id>/<policy version>/<architecture>/
//	    policy.bpf              struct sock_filter, as bwrap --seccomp loads it
//	    policy.metadata.json    what it was compiled from
//
// The filter refuses the base of package seccomp, whatever the policy, and on top
// of it what the policy's deny_actions name. What is verified are bytes in memory,
// read once, and those same bytes go to the kernel: a file that is swapped
// afterwards has no effect.
package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
	"firma/internal/sandbox/seccomp"
)

// Plan is a policy and where its artifact belongs. It is not changed once made.
type Plan struct {
	Policy *Policy
	Dir    string // of the artifact
	mode   Mode
	root   string // the artifact directory
	filter []byte // what the policy compiles to
}

// New reads the policy source and compiles it in memory. Without an artifact
// directory in o it is seccomp-artifacts in stateDir, which is absolute. Errors
// are faults named SeccompPolicyInvalid, ConfigValidation or UnsupportedBackend.
func New(o Options, stateDir string) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	arch := seccomp.Arch()
	if arch == "" {
		return nil, fault.New("UnsupportedBackend", "there is no syscall filter for this architecture", "run on x86_64 or aarch64")
	}
	policy, err := readPolicy(o.PolicyPath)
	if err != nil {
		return nil, err
	}
	p := &Plan{Policy: policy, mode: o.Mode, root: o.ArtifactDir}
	if p.root == "" {
		p.root = filepath.Join(stateDir, "seccomp-artifacts")
	}
	p.root = filepath.Clean(p.root)
	p.Dir = filepath.Join(append([]string{p.root}, p.levels()...)...)
	if p.filter, err = seccomp.Compile(policy.calls...); err != nil {
		return nil, fault.Wrap(err, "UnsupportedBackend", "the syscall filter can't be made for this machine", "run on x86_64 or aarch64")
	}
	return p, nil
}

// levels are the directories from the artifact directory to the artifact.
func (p *Plan) levels() []string {
	return []string{segment(p.Policy.ID), segment(p.Policy.Version), seccomp.Arch()}
}

// Launch returns the verified filter of the artifact on disk. In mode
// compile_on_launch an artifact that is not there at all is made first; one that
// is there and wrong is never replaced. Errors are faults named
// SeccompArtifactMissing, SeccompArtifactStale, SeccompArtifactTampered or
// SeccompArtifactNotWritable, with the reason.
func (p *Plan) Launch() ([]byte, error) {
	filter, err := p.Verify()
	var absent *absentError
	if !errors.As(err, &absent) || p.mode == PrecompiledOnly {
		return filter, err
	}
	if err := p.write(false); err != nil {
		return nil, err
	}
	return p.Verify()
}

// Check says what Launch would return, and whether the artifact is there already;
// it makes nothing.
func (p *Plan) Check() (filter []byte, there bool, err error) {
	filter, err = p.Verify()
	var absent *absentError
	if errors.As(err, &absent) && p.mode != PrecompiledOnly {
		return p.Filter(), false, nil
	}
	return filter, true, err
}

// Verify is Launch without making anything.
func (p *Plan) Verify() ([]byte, error) {
	for {
		leaf, err := openLeaf(p.root, p.levels())
		var absent *absentError
		switch {
		case errors.As(err, &absent):
			return nil, fault.Wrap(err, "SeccompArtifactMissing", "there is no compiled filter for policy "+p.Policy.ID+" "+p.Policy.Version, p.compileFix())
		case err != nil:
			return nil, p.refuse(err)
		}
		filter, err := p.verify(leaf)
		again := err != nil && p.replaced(leaf)
		leaf.close()
		if err == nil {
			return filter, nil
		}
		if !again {
			return nil, p.refuse(err)
		}
	}
}

func (p *Plan) verify(leaf *directory) ([]byte, error) {
	meta, err := leaf.read(metadataName, maxMetadata)
	if err != nil {
		return nil, err
	}
	filter, err := leaf.read(filterName, maxFilter)
	if err != nil {
		return nil, err
	}
	return filter, p.judge(meta, filter)
}

// replaced reports whether leaf has been exchanged for another directory since it
// was opened, as Compile does: then what was read may be what it removed.
func (p *Plan) replaced(leaf *directory) bool {
	now, err := openLeaf(p.root, p.levels())
	if err != nil {
		return false
	}
	defer now.close()
	var a, b unix.Stat_t
	return unix.Fstat(leaf.fd, &a) == nil && unix.Fstat(now.fd, &b) == nil && (a.Ino != b.Ino || a.Dev != b.Dev)
}

// judge compares both files with what the policy compiles to. The metadata comes
// first: it says which of two reasonable filters this was meant to be.
func (p *Plan) judge(meta, filter []byte) error {
	m, err := parseMetadata(meta)
	if err != nil {
		return tampered(filepath.Join(p.Dir, metadataName), "%v", err)
	}
	if err := p.compare(m); err != nil {
		return err
	}
	path := filepath.Join(p.Dir, filterName)
	if got := checksum(filter); got != m.SHA256 {
		return tampered(path, "checksum: it is %s, and the metadata says %s", got, m.SHA256)
	}
	if err := seccomp.Check(filter); err != nil {
		return tampered(path, "it can't be loaded: %v", err)
	}
	if !bytes.Equal(filter, p.filter) {
		return tampered(path, "it is not what policy %s compiles to, though its checksum is in the metadata", p.Policy.ID)
	}
	if !bytes.Equal(meta, m.bytes()) {
		return tampered(filepath.Join(p.Dir, metadataName), "it is not as firma wrote it (a key given twice, or other spacing)")
	}
	return nil
}

// Compile writes the artifact anew, whatever is there, and proves the filter in an
// interpreter first. It fails when the directories can't be trusted.
func (p *Plan) Compile() error {
	if err := seccomp.Prove(p.filter, p.Policy.calls); err != nil {
		return fault.Wrap(err, "SeccompPolicyInvalid", "the compiled filter does not do what policy "+p.Policy.ID+" says", "report this: it is a mistake in firma")
	}
	if err := p.write(true); err != nil {
		return err
	}
	_, err := p.Verify()
	return err
}

// Filter is what the policy compiles to, whatever is on disk.
func (p *Plan) Filter() []byte { return bytes.Clone(p.filter) }

// Prove judges filter, as Verify returned it, in an interpreter and by loading it
// into the kernel for a moment.
func (p *Plan) Prove(filter []byte) error {
	err := seccomp.Prove(filter, p.Policy.calls)
	if err == nil {
		err = seccomp.Try(filter)
	}
	if err != nil {
		return fault.Wrap(err, "SeccompUnavailable", "the syscall filter does not work on this machine", "use a kernel with CONFIG_SECCOMP_FILTER; in a container, one that lets processes add a seccomp filter")
	}
	return nil
}

func (p *Plan) refuse(err error) error {
	var d *defect
	if !errors.As(err, &d) {
		return fault.Wrap(err, "SeccompArtifactTampered", "the compiled filter in "+p.Dir+" can't be verified", p.compileFix())
	}
	fix := d.fix
	if fix == "" {
		fix = "find out what changed it; then make it anew: `" + p.command() + "`"
	}
	if d.name == "SeccompArtifactMissing" || d.name == "SeccompArtifactStale" {
		fix = p.compileFix()
	}
	return fault.New(d.name, fmt.Sprintf("%s: %s", d.path, d.why), fix)
}

func (p *Plan) compileFix() string { return "make it: `" + p.command() + "`" }

// command is the command line that makes this very artifact.
func (p *Plan) command() string {
	words := "firma seccomp compile"
	if p.Policy.path != "" {
		words += " --policy " + quote(p.Policy.path)
	}
	return words + " --artifact-dir " + quote(p.root)
}
