package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firma/internal/fault"
)

// A configuration that was found by walking up from the working directory may
// have been put there by the agent, or by whoever wrote the repository. It is used
// only with the content that somebody saw and trusted: of the file itself, and of
// the files it names that decide what is allowed.

// file is one file as it was read, once.
type file struct {
	data []byte
	err  error // that it does not exist
}

func (f file) sum() string {
	if f.err != nil {
		return "absent"
	}
	s := sha256.Sum256(f.data)
	return hex.EncodeToString(s[:])
}

// Trusted is a record of trust: the content of a configuration and its inputs.
type Trusted struct {
	Path  string            `json:"path"`
	Files map[string]string `json:"files"` // path → SHA-256, or "absent"
}

func readAll(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errTooLarge
	}
	return data, err
}

// readSafe opens a file once, refuses anything that others may have written, and
// reads it from that handle.
func readSafe(path string) ([]byte, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if err := onlyOurs(info); err != nil {
		return nil, err
	}
	return readAll(f)
}

// loadTrusted loads a walked-up file if what is there now has been trusted.
func loadTrusted(w Where, path string) (*Config, error) {
	data, err := readSafe(path)
	if err != nil {
		return nil, fault.Wrap(err, "ConfigNotTrusted", path+" lies in the project and may have been written by somebody else",
			"make it and the directories above it yours and writable for nobody else, or pass it with --config "+path)
	}
	record, err := w.record(path)
	if err != nil {
		return nil, err
	}
	if record == nil || record.Files[path] != (file{data: data}).sum() {
		return nil, notTrusted(path, data, record != nil)
	}
	c, err := load(path, data)
	if err != nil {
		return nil, err
	}
	c.files = inputs(c)
	if changed := record.changed(c.files); changed != "" {
		return nil, fault.New("ConfigNotTrusted", changed+", which "+path+" names, is not what was trusted", "read it, then: firma trust "+path)
	}
	return c, nil
}

// changed names an input that is not as it was, or "".
func (t *Trusted) changed(now map[string]file) string {
	for _, p := range slices.Sorted(maps.Keys(now)) {
		if t.Files[p] != now[p].sum() {
			return p
		}
	}
	for _, p := range slices.Sorted(maps.Keys(t.Files)) {
		if _, still := now[p]; !still && p != t.Path {
			return p
		}
	}
	return ""
}

func notTrusted(path string, data []byte, before bool) error {
	text := path + " lies in the project, where the agent or a cloned repository could have put it"
	if before {
		text = path + " has changed since it was trusted"
	}
	return fault.New("ConfigNotTrusted", text+". "+Effect(path, data), "read it, then: firma trust "+path+"; or pass another file with --config")
}

// Effect says what a configuration changes against the defaults, for a person who
// has to decide whether to trust it. The content is printed escaped.
func Effect(path string, data []byte) string {
	c, err := load(path, data)
	if err != nil {
		return "It can't be used as it is: " + err.Error()
	}
	lines := changes(c)
	if len(lines) == 0 {
		return "It changes nothing against the defaults."
	}
	const most = 20
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", more))
	}
	return "It would set:\n  " + strings.Join(lines, "\n  ")
}

// Trust records that the configuration at path may be used as it is now, and
// returns what it changes.
func Trust(w Where, path string) (*Trusted, string, error) {
	path, err := trustPath(path)
	if err != nil {
		return nil, "", err
	}
	data, err := readSafe(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fault.Wrap(err, "ConfigNotTrusted", "there is no configuration "+path+" to trust", "name a project that has one, or write it first")
	}
	if err != nil {
		return nil, "", fault.Wrap(err, "ConfigNotTrusted", path+" can't be trusted", "make it and the directories above it yours and writable for nobody else")
	}
	c, err := load(path, data)
	if err != nil {
		return nil, "", err
	}
	t := &Trusted{Path: path, Files: map[string]string{path: file{data: data}.sum()}}
	for p, f := range inputs(c) {
		t.Files[p] = f.sum()
	}
	return t, Effect(path, data), w.keep(t)
}

// trustPath accepts a project file, or the directory of the project.
func trustPath(path string) (string, error) {
	abs, err := absolute(path)
	if err != nil {
		return "", err
	}
	abs, err = filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fault.Wrap(err, "ConfigParse", path+" can't be found", "name a project directory, or its .firma/firma.toml")
	}
	if info, err := os.Stat(abs); err == nil && info.IsDir() {
		if filepath.Base(abs) == ".firma" {
			abs = filepath.Dir(abs)
		}
		abs = filepath.Join(abs, projectFile)
	}
	if !strings.HasSuffix(abs, string(filepath.Separator)+projectFile) {
		return "", fault.New(fault.ArgumentInvalid, abs+" needs no trust: only a project's .firma/firma.toml does, which is found by walking up", "pass it with --config")
	}
	return abs, nil
}

func (w Where) recordFile(path string) (string, error) {
	state, err := StateDir(w, "")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(state, "trusted", hex.EncodeToString(sum[:16])+".json"), nil
}

// record reads what was trusted at path; nil if nothing was.
func (w Where) record(path string) (*Trusted, error) {
	name, err := w.recordFile(path)
	if err != nil {
		return nil, err
	}
	t, err := readRecord(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && t.Path != path {
		err = badRecord(errors.New("it is about "+t.Path), name)
	}
	return t, err
}

func readRecord(name string) (*Trusted, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, badRecord(err, name)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = onlyOurs(info)
	}
	var t Trusted
	if err == nil {
		err = json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&t)
	}
	if err != nil {
		return nil, badRecord(err, name)
	}
	return &t, nil
}

func badRecord(err error, name string) error {
	return fault.Wrap(err, "ConfigNotTrusted", "the record of trust "+name+" can't be used", "remove it, then trust the configuration again")
}

// keep writes the record in one step.
func (w Where) keep(t *Trusted) error {
	name, err := w.recordFile(t.Path)
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(name), 0o700)
	var text []byte
	if err == nil {
		text, err = json.MarshalIndent(t, "", "  ")
	}
	if err == nil {
		err = replace(name, append(text, '\n'))
	}
	if err != nil {
		return fault.Wrap(err, "StateDirNotWritable", "the trust can't be recorded", "make "+filepath.Dir(name)+" writable for you")
	}
	return nil
}

func replace(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Distrust removes the record of trust in a configuration, which need not exist
// any more.
func Distrust(w Where, path string) (string, error) {
	if real, err := trustPath(path); err == nil {
		path = real
	}
	abs, err := absolute(path)
	if err != nil {
		return "", err
	}
	name, err := w.recordFile(abs)
	if err != nil {
		return "", err
	}
	if err := os.Remove(name); err != nil {
		return "", fault.Wrap(err, "ConfigNotTrusted", abs+" was not trusted", "see: firma trust --list")
	}
	return abs, nil
}

// TrustedPaths lists what is trusted, by path.
func TrustedPaths(w Where) ([]Trusted, error) {
	any, err := w.recordFile("")
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(any)), "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Trusted
	for _, name := range names {
		t, err := readRecord(name)
		if err != nil {
			return nil, err
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b Trusted) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}
