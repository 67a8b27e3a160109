package config

import (
	"reflect"
	"slices"
)

// nearest returns the name that s is most likely a slip of, or "".
func nearest(s string, names []string) string {
	best, limit := "", max(2, len(s)/3)+1
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(s, n); d < limit {
			best, limit = n, d
		}
	}
	return best
}

// distance is Levenshtein's: single-byte insertions, removals and changes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}

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
		if f.Kind() == reflect.Struct && f != reflect.TypeFor[Unbuilt]() && f != reflect.TypeFor[Duration]() {
			walkTables(f, at, visit)
		}
	}
}
