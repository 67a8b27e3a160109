package registries

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

func TestHostOf(t *testing.T) {
	cases := map[string]string{ // "" = refused
		"https://reg.test":                  "reg.test",
		"https://reg.test/":                 "reg.test",
		"HTTPS://Reg.Test./a?b#c":           "reg.test",
		"https://reg.test:443/":             "reg.test",
		"http://reg.test:80/":               "reg.test",
		"http://reg.test:08081/":            "reg.test:8081",
		"https://user:pass@reg.test:8443/x": "reg.test:8443",
		" https://reg.test \n":              "reg.test",
		"http://10.1.2.3/":                  "10.1.2.3",
		"http://[::1]:4873/":                "[::1]:4873",
		"http://[2001:DB8::1]/":             "2001:db8::1",
		"http://[::ffff:10.1.2.3]/":         "10.1.2.3",
		"https://my_reg.test/":              "my_reg.test",
		"":                                  "",
		"reg.test":                          "",
		"//reg.test/":                       "",
		"https:///x":                        "",
		"https:reg.test":                    "",
		"file:///srv/mirror":                "",
		"ssh://git@reg.test/index":          "",
		"git+https://reg.test":              "",
		"https://*":                         "",
		"https://*.test":                    "",
		"https://reg..test":                 "",
		"https://-reg.test":                 "",
		"https://bücher.test":               "",
		"https://reg.test:0":                "",
		"https://reg.test:65536":            "",
		"https://reg.test:x":                "",
		"https://re g.test":                 "",
		"https://re%67.test":                "",
		"https://reg%00.test":               "",
		"https://2130706433/":               "",
		"https://0x7f000001/":               "",
		"https://127.1/":                    "",
		"https://0177.0.0.1/":               "",
		"http://[fe80::1%25eth0]/":          "",
		"https://" + strings.Repeat("a", 64) + ".test/":       "",
		"https://" + strings.Repeat("a.", 127) + "toolong.x/": "",
	}
	for in, want := range cases {
		got, err := hostOf(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("hostOf(%q) = %q, %v; want %q", in, got, err, want)
		}
		if err == nil && !validHost(got) {
			t.Errorf("validHost(%q) = false for a result of hostOf", got)
		}
	}
}

func FuzzHostOf(f *testing.F) {
	for _, s := range []string{"https://a.test:1", "http://[::1]:80", "http://u:p@x/", "https://0x1", "http://a%2f.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := hostOf(s)
		if err != nil {
			return
		}
		if !validHost(got) || got != strings.ToLower(got) || strings.ContainsAny(got, "@/*% \t\n\x00") {
			t.Errorf("hostOf(%q) = %q", s, got)
		}
	})
}

func TestAptLines(t *testing.T) {
	in := "deb http://a.test/debian s main\r\n" +
		"deb-src\thttps://b.test/debian s main\n" +
		"  deb [ arch=amd64 trusted=yes ] http://c.test/ ./ # note\n" +
		"#deb http://no.test/ s main\n" +
		"deb cdrom:[Debian]/ s main\nrpm http://no.test s\ndeb http://no.test/\ndeb [x\n"
	want := []string{"http://a.test/debian", "https://b.test/debian", "http://c.test/", "cdrom:[Debian]/"}
	if diff := cmp.Diff(want, aptLines(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAptStanzas(t *testing.T) {
	in := "# note\nTypes: deb\nURIs: http://a.test/ http://b.test/\nSigned-By:\n -----BEGIN\n .\n URIs: http://no.test\n\n" +
		"uris:\n http://c.test/\n# in between\n http://d.test/\nEnabled: yes\n\n\nURIs: http://no.test/\nEnabled: No\n"
	want := []string{"http://a.test/", "http://b.test/", "http://c.test/", "http://d.test/"}
	if diff := cmp.Diff(want, aptStanzas(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzApt: each line, and each stanza, says the same beside others and beneath a
// comment as alone, and nothing that is not a word of it.
func FuzzApt(f *testing.F) {
	f.Add("deb [a b] http://x s\n", "URIs: http://x\n y\n\nEnabled: no\n")
	f.Add(" continuation first\n", " continuation first\n:\n")
	f.Add("deb http://a # b\n#deb http://c s", "Enabled: no\nURIs: http://x\n#\n\nURIs:\n\thttp://y http://z\nuris: http://w")
	f.Fuzz(func(t *testing.T, lines, stanzas string) {
		all := aptLines(lines)
		var each []string
		for line := range strings.Lines(lines) {
			each = append(each, aptLines(line)...)
			if strings.HasPrefix(strings.TrimSpace(line), "#") && len(aptLines(line)) > 0 {
				t.Fatalf("the comment %q says something", line)
			}
		}
		if !slices.Equal(all, each) {
			t.Fatalf("%q: together %q, alone %q", lines, all, each)
		}
		words(t, lines, all)
		all = aptStanzas(stanzas)
		if twice := aptStanzas(stanzas + "\n\n# x\n" + stanzas); !slices.Equal(twice, slices.Concat(all, all)) {
			t.Fatalf("%q: once %q, twice %q", stanzas, all, twice)
		}
		if off := aptStanzas("Enabled: no\nX:\n" + stanzas); !strings.Contains(strings.ToLower(stanzas), "enabled") && !blankLine(stanzas) && len(off) > 0 {
			t.Fatalf("%q: %q although it is off", stanzas, off)
		}
		words(t, stanzas, all)
	})
}

// words fails unless each of found is a word of text.
func words(t *testing.T, text string, found []string) {
	for _, w := range found {
		if w == "" || strings.ContainsFunc(w, unicode.IsSpace) || !strings.Contains(text, w) {
			t.Fatalf("%q is found in %q", w, text)
		}
	}
}

// blankLine reports whether text has one, by which stanzas end.
func blankLine(text string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			return true
		}
	}
	return false
}

func TestPipVariablesReplaceFiles(t *testing.T) {
	m := newMachine(t)
	m.write(m.root+"/etc/pip.conf", "[global]\nindex-url=https://machine.test/\nextra-index-url =\n  https://e1.test/\n  https://e2.test/\ntimeout = 5\n  https://no.test/\n", 0o644)
	m.write(m.home+"/.config/pip/pip.conf", "[global]\nindex_url: https://user.test/\n[install]\nindex-url=https://install.test/\n", 0o644)
	m.fakes()
	if diff := cmp.Diff([]string{"e1.test", "e2.test", "install.test", "user.test"}, pipHosts(m)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	m.env = []string{"PIP_INDEX_URL=https://env.test/simple"}
	if diff := cmp.Diff([]string{"e1.test", "e2.test", "env.test"}, pipHosts(m)); diff != "" {
		t.Errorf("variable (-want +got):\n%s", diff)
	}
	m.env = []string{"PIP_CONFIG_FILE=/dev/null"}
	if got := pipHosts(m); len(got) != 0 {
		t.Errorf("PIP_CONFIG_FILE=/dev/null leaves %v", got)
	}
}

func pipHosts(m *machine) []string {
	var hosts []string
	for _, r := range m.discover() {
		if r.Client == "pip" {
			hosts = append(hosts, r.Host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// FuzzPipConfig: only index settings are set, to words of the file, and another file
// with another section changes none of them.
func FuzzPipConfig(f *testing.F) {
	f.Add("[global]\nindex-url = https://x\n  y\n")
	f.Add("  lost\n[=\nindex-url\n")
	f.Add("[global]\nindex_url: https://a\n# https://b\n  https://c\n[install]\nextra-index-url=\n https://d\n")
	f.Fuzz(func(t *testing.T, text string) {
		once, twice := map[string]string{}, map[string]string{}
		pipConfig(text, once)
		pipConfig(text, twice)
		pipConfig("[other]\nindex-url = https://mine\n[x]\n", twice)
		delete(twice, "other.index-url")
		for key, v := range once {
			if !strings.HasSuffix(key, ".index-url") && !strings.HasSuffix(key, ".extra-index-url") {
				t.Fatalf("%q is set in %q", key, text)
			}
			if key != "other.index-url" && twice[key] != v {
				t.Fatalf("%q: %s is %q, beside another file %q", text, key, v, twice[key])
			}
			words(t, text, strings.Fields(v))
		}
	})
}

func TestGoSettings(t *testing.T) {
	if diff := cmp.Diff([]string{"https://a.test", "https://b.test", "direct"}, goProxies("https://a.test,https://b.test|direct")); diff != "" {
		t.Errorf("goProxies (-want +got):\n%s", diff)
	}
	for in, want := range map[string][]string{
		"off": nil, "": nil,
		"sum.test":                       {"https://sum.test"},
		"sum.test+1234+key":              {"https://sum.test"},
		"sum.test https://mirror.test/s": {"https://mirror.test/s"},
	} {
		if diff := cmp.Diff(want, goSumDB(in)); diff != "" {
			t.Errorf("goSumDB(%q) (-want +got):\n%s", in, diff)
		}
	}
}

// FuzzAnswers: of whatever a host's client says of itself, only texts under the keys that
// name registries are taken.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"registry":"https://a/","@x:registry":"https://b/","@x:registry2":"no","other":1}`), []byte("[source.a]\nregistry='https://a'\n[registries.b]\nindex='sparse+https://b'\n"))
	f.Add([]byte(`null`), []byte("source=1"))
	f.Add([]byte(`{}`), []byte("[soUrce.a]\nregistry='https://a'\n[source.b]\nRegistry='https://b'\n"))
	f.Fuzz(func(t *testing.T, npm, cargo []byte) {
		var all map[string]any
		taken, err := npmRegistries(npm)
		if jerr := json.Unmarshal(npm, &all); (err == nil) != (jerr == nil) {
			t.Fatal(err, jerr)
		}
		for _, u := range taken {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(k string) bool { return all[k] == u && strings.HasSuffix(k, "registry") }) {
				t.Fatalf("%q of %q", u, npm)
			}
		}
		var tables map[string]map[string]map[string]any
		taken, err = cargoConfig(cargo)
		if err != nil || toml.Unmarshal(cargo, &tables) != nil {
			return
		}
		var want []string
		for name, key := range map[string]string{"source": "registry", "registries": "index"} {
			for _, entry := range tables[name] {
				if v, ok := entry[key].(string); ok {
					want = append(want, v)
				}
			}
		}
		slices.Sort(taken)
		slices.Sort(want)
		if !slices.Equal(taken, want) {
			t.Fatalf("%q of %q, want %q", taken, cargo, want)
		}
	})
}
