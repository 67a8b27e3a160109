package config

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"firma/internal/nearest"
)

// decoder fills the tables from a file's values and keeps the place of each key,
// for the checks that come after.
type decoder struct {
	problems
	dir    string // relative paths are based on it
	places map[string]place
}

// settingOf is what a field says about its key.
type settingOf struct {
	key, older string
	enum       []string
	later      []string
	path, zero bool // the value is a path; zero is allowed
	input      bool // a path whose content decides what is allowed
	why, def   string
	index      int
}

func settingsOf(t reflect.Type) []settingOf {
	var out []settingOf
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key := tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		out = append(out, settingOf{
			key: key, older: tag.Get("older"), why: tag.Get("why"), index: i,
			enum: strings.Fields(tag.Get("enum")), later: strings.Fields(tag.Get("later")),
			path: tag.Get("path") != "", input: tag.Get("path") == "input", zero: tag.Get("zero") != "no",
			def: tag.Get("default"),
		})
	}
	return out
}

func dotted(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// table decodes n into the struct v.
func (d *decoder) table(n *node, v reflect.Value, path string) {
	if n.kind == scalar && n.value == nil {
		return // YAML's way to write an empty table
	}
	if n.kind != table {
		d.add(n.at, "%s is a table, not %s", path, n.what())
		return
	}
	known := map[string]bool{}
	for _, s := range settingsOf(v.Type()) {
		known[s.key], known[s.older] = true, true
		d.setting(n, s, v.Field(s.index), path)
	}
	for _, key := range slices.Sorted(maps.Keys(n.table)) {
		if !known[key] {
			d.unknown(n.table[key].at, v.Type(), path, key)
		}
	}
}

func (d *decoder) setting(n *node, s settingOf, v reflect.Value, path string) {
	child, older := n.table[s.key], n.table[s.older]
	if s.older == "" {
		older = nil
	}
	full := dotted(path, s.key)
	switch {
	case child != nil && older != nil:
		d.add(older.at, "%s and %s are one setting, set twice: keep %s", s.key, s.older, s.key)
	case child != nil:
		d.places[full] = child.at
		d.value(child, v, s, full)
	case older != nil:
		d.places[full] = older.at
		d.olderValue(older, v, s, dotted(path, s.older))
	}
}

func (d *decoder) unknown(at place, t reflect.Type, path, key string) {
	text := "unknown key " + printable(dotted(path, key))
	var names []string
	for _, s := range settingsOf(t) {
		names = append(names, s.key)
	}
	if near := nearest.Name(key, names); near != "" {
		text += ": did you mean " + near + "?"
	} else if tables := holders(key); len(tables) == 1 {
		text += ": did you mean " + key + " in [" + tables[0] + "]?"
	}
	d.add(at, "%s", text)
}

// printable shortens what a file says; see visible for the rest.
func printable(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

func (d *decoder) value(n *node, v reflect.Value, s settingOf, path string) {
	switch v.Interface().(type) {
	case Unbuilt:
		d.add(n.at, "%s is not built in this version: %s", path, s.why)
		return
	case Duration:
		d.duration(n, v, s, path)
		return
	case Size:
		d.size(n, v, s, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), s, path)
	case reflect.Struct:
		d.table(n, v, path)
	case reflect.Map:
		d.names(n, v, s, path)
	case reflect.Slice:
		d.items(n, v, s, path)
	default:
		d.scalar(n, v, s, path)
	}
}

func (d *decoder) scalar(n *node, v reflect.Value, s settingOf, path string) {
	switch value := n.value.(type) {
	case string:
		if v.Kind() == reflect.String {
			d.text(n.at, v, s, path, value)
			return
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(value)
			return
		}
	case int64:
		if v.Kind() == reflect.Float64 {
			v.SetFloat(float64(value))
			return
		}
		if v.Kind() == reflect.Int {
			d.integer(n.at, v, s, path, value)
			return
		}
	case float64:
		if v.Kind() == reflect.Float64 && !math.IsNaN(value) && !math.IsInf(value, 0) {
			v.SetFloat(value)
			return
		}
	}
	d.add(n.at, "%s is %s, not %s", path, typeName(v.Type()), n.what())
}

func (d *decoder) integer(at place, v reflect.Value, s settingOf, path string, value int64) {
	switch {
	case value < 0, value == 0 && !s.zero:
		d.add(at, "%s must be more than zero", path)
	case value > math.MaxInt32:
		d.add(at, "%s is too large", path)
	default:
		v.SetInt(value)
	}
}

func (d *decoder) text(at place, v reflect.Value, s settingOf, path, value string) {
	switch {
	case slices.Contains(s.later, value):
		d.add(at, "%s = %q is not built in this version; there is %s", path, value, quoted(s.enum))
	case len(s.enum) > 0 && !slices.Contains(s.enum, value):
		d.add(at, "%s is %s, not %s", path, quoted(s.enum), printable(value))
	case strings.ContainsRune(value, 0):
		d.add(at, "%s holds a NUL byte", path)
	case s.path && value == "":
		d.add(at, "%s is empty; leave it out instead", path)
	case s.path && !filepath.IsAbs(value):
		v.SetString(filepath.Join(d.dir, value))
	default:
		v.SetString(value)
	}
}

func quoted(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, fmt.Sprintf("%q", w))
	}
	return strings.Join(out, " or ")
}

// items decodes a list. An empty one is not nil: it replaces what was there.
func (d *decoder) items(n *node, v reflect.Value, s settingOf, path string) {
	if n.kind != list {
		d.add(n.at, "%s is %s, not %s", path, typeName(v.Type()), n.what())
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.list), len(n.list)))
	for i, item := range n.list {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.places[at] = item.at
		d.value(item, v.Index(i), s, at)
	}
}

// names decodes a table whose keys the user chooses.
func (d *decoder) names(n *node, v reflect.Value, s settingOf, path string) {
	if n.kind != table {
		if n.kind != scalar || n.value != nil {
			d.add(n.at, "%s is a table, not %s", path, n.what())
		}
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, key := range slices.Sorted(maps.Keys(n.table)) {
		at := dotted(path, key)
		d.places[at] = n.table[key].at
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(n.table[key], item, s, at)
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

func typeName(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return `a duration such as "30s"`
	}
	if t == reflect.TypeFor[Size]() {
		return `a size such as "64MiB"`
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	return "a table"
}
