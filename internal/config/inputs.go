package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"

	"firma/internal/policy"
)

// inputs reads the files that a configuration names and that decide what is
// allowed: rules, policies, schemas, public keys. Of a directory these are its
// *.cedar files, and the directory's own entry lists their names.
func inputs(c *Config) map[string]file {
	out := map[string]file{}
	eachPath(c, func(s settingOf, path string) {
		if s.input {
			readInputs(path, out)
		}
	})
	return out
}

func readInputs(path string, out map[string]file) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		out[path] = readInput(path)
		return
	}
	names, err := cedarFiles(path)
	listing := ""
	for _, name := range names {
		out[name] = readInput(name)
		listing += name + "\n"
	}
	out[path] = file{data: []byte(listing), err: err}
}

func readInput(path string) file {
	f, err := os.Open(path)
	if err != nil {
		return file{err: err}
	}
	defer f.Close()
	data, err := readAll(f)
	return file{data: data, err: err}
}

// eachPath visits the values of the fields that hold paths.
func eachPath(c *Config, visit func(s settingOf, path string)) {
	eachPathIn(reflect.ValueOf(c).Elem(), visit)
}

func eachPathIn(v reflect.Value, visit func(s settingOf, path string)) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Map {
		for it := v.MapRange(); it.Next(); {
			eachPathIn(it.Value(), visit)
		}
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for _, s := range settingsOf(v.Type()) {
		f := v.Field(s.index)
		switch {
		case !s.path:
			eachPathIn(f, visit)
		case f.Kind() == reflect.Slice:
			for i := range f.Len() {
				visit(s, f.Index(i).String())
			}
		case f.String() != "":
			visit(s, f.String())
		}
	}
}

func cedarFiles(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.cedar"))
	sort.Strings(names)
	return names, err
}

// escapeGlob makes the characters that Glob reads in a directory's name plain.
func escapeGlob(dir string) string {
	var b []rune
	for _, r := range dir {
		if slices.Contains([]rune(`*?[\`), r) {
			b = append(b, '\\')
		}
		b = append(b, r)
	}
	return string(b)
}

// ReadPolicies joins the *.cedar files of a directory that the configuration
// names, in the order of their names. An error says which could not be read; a
// directory without any is one.
func (c *Config) ReadPolicies(dir string) ([]byte, error) {
	names, err := cedarFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "read", Path: dir, Err: errors.New("it holds no .cedar file")}
	}
	var files []policy.File
	for _, name := range names {
		b, err := c.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, policy.File{Name: filepath.Base(name), Text: b})
	}
	return policy.Join(files), nil
}
