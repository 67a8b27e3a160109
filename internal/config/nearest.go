package config

import (
	"reflect"
	"slices"
)

// holders are the tables that have a key of exactly this name.
func holders(key string) []string {
	var out []string
	walkTables(reflect.TypeFor[Config](), "", func(t reflect.Type, path string) {
		for _, s := range settingsOf(t) {
			if s.key == key && path != "" {
				out = append(out, path)
			}
		}
	})
	slices.Sort(out)
	return out
}

// walkTables visits the struct t and the tables below it. A table whose name the
// user chooses is "*".
func walkTables(t reflect.Type, path string, visit func(reflect.Type, string)) {
	visit(t, path)
	for _, s := range settingsOf(t) {
		f := t.Field(s.index).Type
		at := dotted(path, s.key)
		for f.Kind() == reflect.Pointer || f.Kind() == reflect.Map || f.Kind() == reflect.Slice {
			if f.Kind() == reflect.Map {
				at += ".*"
			}
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && !isSetting(f) {
			walkTables(f, at, visit)
		}
	}
}
