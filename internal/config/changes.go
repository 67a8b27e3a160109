package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// changes lists the keys of c that are not at their default, as "key = value".
func changes(c *Config) []string {
	var out []string
	listTable(reflect.ValueOf(c).Elem(), "", &out)
	if c.overrides != nil {
		listTable(reflect.ValueOf(c.overrides).Elem(), "run", &out)
	}
	slices.Sort(out)
	return out
}

func listTable(v reflect.Value, path string, out *[]string) {
	for _, s := range settingsOf(v.Type()) {
		listValue(v.Field(s.index), dotted(path, s.key), s.def, out)
	}
}

func listValue(v reflect.Value, path, def string, out *[]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if v.Elem().Kind() == reflect.Struct {
			*out = append(*out, visible("["+path+"]"))
			listValue(v.Elem(), path, def, out)
			return
		}
		v = v.Elem()
		if v.Kind() == reflect.Bool && !v.Bool() {
			add(path, "false", def, out)
			return
		}
		listValue(v, path, def, out)
		return
	case reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(keysOf(v))) {
			listValue(v.MapIndex(reflect.ValueOf(key)), dotted(path, printable(key)), "", out)
		}
		return
	case reflect.Struct:
		if !isSetting(v.Type()) {
			listTable(v, path, out)
			return
		}
	}
	add(path, show(v), def, out)
}

func add(path, text, def string, out *[]string) {
	if text == "" || text == def {
		return
	}
	line := path + " = " + text
	if def != "" {
		line += " (default " + def + ")"
	}
	*out = append(*out, visible(line))
}

func keysOf(v reflect.Value) map[string]bool {
	out := map[string]bool{}
	for _, k := range v.MapKeys() {
		out[k.String()] = true
	}
	return out
}

// show prints a value the way a file would hold it; "" is unset.
func show(v reflect.Value) string {
	if d, ok := v.Interface().(Duration); ok {
		if !d.set {
			return ""
		}
		return showDuration(d.value)
	}
	if s, ok := v.Interface().(Size); ok {
		return showSize(s)
	}
	switch v.Kind() {
	case reflect.String:
		return printable(v.String())
	case reflect.Slice:
		if v.IsNil() {
			return ""
		}
		var items []string
		for i := range v.Len() {
			items = append(items, showItem(v.Index(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	if v.IsZero() {
		return ""
	}
	return fmt.Sprint(v.Interface())
}

func showItem(v reflect.Value) string {
	if v.Kind() != reflect.Struct {
		return show(v)
	}
	var lines []string
	listTable(v, "", &lines)
	return "{" + strings.Join(lines, ", ") + "}"
}

// showDuration is time.Duration's text without its zero units: 10m, not 10m0s.
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// showSize is the size in the largest unit of which it is a whole number.
func showSize(s Size) string {
	if !s.set {
		return ""
	}
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		if one, _ := parseSize("1" + u); s.value > 0 && s.value%one == 0 {
			return strconv.FormatInt(s.value/one, 10) + u
		}
	}
	return strconv.FormatInt(s.value, 10) + "B"
}

// isSetting reports whether a struct is one value, not a table.
func isSetting(t reflect.Type) bool {
	return t == reflect.TypeFor[Unbuilt]() || t == reflect.TypeFor[Duration]() || t == reflect.TypeFor[Size]()
}
