package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented is a key as docs/configuration.md describes it.
type documented struct{ kind, def, meaning string }

// schema walks the tables of the code: keys, older names, keys not built.
func schema() (keys map[string]documented, older, unbuilt map[string]string) {
	keys, older, unbuilt = map[string]documented{}, map[string]string{}, map[string]string{}
	walkTables(reflect.TypeFor[Config](), "", func(t reflect.Type, path string) {
		if strings.HasPrefix(path, "run.defaults") {
			return // the same as a profile
		}
		path = strings.Replace(path, "run.profiles.*", "run.profiles.NAME", 1)
		for _, s := range settingsOf(t) {
			f, at := t.Field(s.index).Type, dotted(path, s.key)
			if s.older != "" {
				older[dotted(path, s.older)] = s.key
			}
			switch {
			case f == reflect.TypeFor[Unbuilt]():
				unbuilt[at] = s.why
			case kindOf(f, s) != "":
				keys[at] = documented{kind: kindOf(f, s), def: s.def}
			}
		}
	})
	return keys, older, unbuilt
}

// kindOf is the word for a type; "" for a table, which has a section of its own.
func kindOf(f reflect.Type, s settingOf) string {
	if f.Kind() == reflect.Pointer {
		f = f.Elem()
	}
	switch {
	case f == reflect.TypeFor[Duration]():
		return "duration"
	case f == reflect.TypeFor[Size]():
		return "size"
	case len(s.enum) > 0:
		return "`" + strings.Join(s.enum, "`, `") + "`"
	}
	switch f.Kind() {
	case reflect.String:
		if s.path {
			return "path"
		}
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		switch {
		case f.Elem().Kind() == reflect.Struct:
			return "list of tables"
		case s.path:
			return "list of paths"
		}
		return "list of strings"
	case reflect.Map:
		if f.Elem().Kind() == reflect.String {
			return "table of strings"
		}
	}
	return ""
}

var (
	heading = regexp.MustCompile("^### `\\[+([a-zA-Z_.]+)\\]+`")
	row     = regexp.MustCompile("^\\| `([a-z_.A-Z]+)` \\|(.*)\\|$")
)

// page reads the tables of docs/configuration.md.
func page(t *testing.T) (keys map[string]documented, older, unbuilt map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	keys, older, unbuilt = map[string]documented{}, map[string]string{}, map[string]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := heading.FindStringSubmatch(line); m != nil {
			section = m[1]
		} else if strings.HasPrefix(line, "#") {
			section = strings.TrimLeft(line, "# ")
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		cells := strings.Split(m[2], " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch section {
		case "Older names":
			older[m[1]] = strings.Trim(cells[0], "`")
		case "Not built":
			unbuilt[m[1]] = cells[0]
		case "Environment":
		default:
			if len(cells) != 3 {
				t.Errorf("%s.%s: %d cells: %q", section, m[1], len(cells), cells)
				continue
			}
			keys[dotted(section, m[1])] = documented{cells[0], cells[1], cells[2]}
		}
	}
	return keys, older, unbuilt
}

// Every key is documented with the code's type and default, and nothing else is.
func TestPageIsTheSchema(t *testing.T) {
	want, wantOlder, wantUnbuilt := schema()
	got, gotOlder, gotUnbuilt := page(t)
	for key, w := range want {
		g, ok := got[key]
		def := strings.Trim(g.def, "`")
		switch {
		case !ok:
			t.Errorf("%s (%s, default %q) is not documented", key, w.kind, w.def)
		case g.kind != w.kind:
			t.Errorf("%s is documented as %s, is %s", key, g.kind, w.kind)
		case def != w.def && !(w.def == "" && def == "–"):
			t.Errorf("%s is documented with the default %q, is %q", key, def, w.def)
		case g.meaning == "":
			t.Errorf("%s has no meaning", key)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is documented and does not exist", key)
		}
	}
	compare(t, "older name", wantOlder, gotOlder)
	compare(t, "key not built", wantUnbuilt, gotUnbuilt)
}

func compare(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for key, w := range want {
		if g, ok := got[key]; !ok || g != w {
			t.Errorf("%s %s: documented as %q, want %q", what, key, g, w)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s %s is documented and does not exist", what, key)
		}
	}
}

// Every TOML and YAML example of the page loads.
func TestPageExamplesLoad(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, block := range strings.Split(string(text), "```") {
		for _, syntax := range []string{"toml", "yaml"} {
			if body, ok := strings.CutPrefix(block, syntax+"\n"); ok && i%2 == 1 {
				found++
				if _, err := Parse("example."+syntax, []byte(body)); err != nil {
					t.Errorf("%v\n%s", err, body)
				}
			}
		}
	}
	if found < 3 {
		t.Errorf("found %d examples", found)
	}
}

// The environment variables of [authority] are its keys.
func TestEnvironmentOfAuthority(t *testing.T) {
	c := &Config{Authority: &Authority{}}
	env := map[string]string{"FIRMA_AUTHORITY_MAX_TTL": "5m", "FIRMA_AUTHORITY_POLICY_DIR": "p", "FIRMA_AUTHORITY_ALLOW_ANONYMOUS": "yes"}
	if err := c.OverrideAuthority(func(k string) string { return env[k] }, "/base"); err != nil {
		t.Fatal(err)
	}
	if a := c.Authority; a.MaxTTL.Or(0).Minutes() != 5 || a.PolicyDir != "/base/p" || !a.AllowAnonymous {
		t.Errorf("%+v", a)
	}
	for name, value := range map[string]string{"MAX_TTL": "5", "ALLOW_ANONYMOUS": "perhaps", "TLS_CERT_PATH": "x", "LISTEN_ADDR": "nowhere"} {
		env := map[string]string{"FIRMA_AUTHORITY_" + name: value}
		if err := (&Config{Authority: &Authority{}}).OverrideAuthority(func(k string) string { return env[k] }, "/"); err == nil {
			t.Errorf("%s=%s was taken", name, value)
		}
	}
	if err := (&Config{}).OverrideAuthority(func(string) string { return "x" }, "/"); err != nil {
		t.Errorf("without the table: %v", err)
	}
}

func TestEnumsAndDefaultsAgree(t *testing.T) {
	keys, _, _ := schema()
	for key, k := range keys {
		if words := strings.Split(strings.Trim(k.kind, "`"), "`, `"); strings.HasPrefix(k.kind, "`") && k.def != "" && key != "sidecar.log.level" && !slices.Contains(words, k.def) {
			t.Errorf("%s: the default %q is not one of %q", key, k.def, words)
		}
	}
}
