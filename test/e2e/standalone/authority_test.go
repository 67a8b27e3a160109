package standalone

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// controlPlane is a control plane's files: a signing key, and whatever [authority] says.
type controlPlane struct {
	s      *stage
	dir    string // relative to the world's base
	config string
	state  string
}

// plane makes a key with firma authority generate-key, and a configuration whose
// [authority] table has more.
func (s *stage) plane(more string) *controlPlane {
	s.t.Helper()
	c := &controlPlane{s: s, dir: s.fresh("plane"), state: s.fresh("state")}
	name := filepath.Base(c.dir)
	c.config = s.write(name+"/authority.toml", "[authority]\nlisten_addr = \"127.0.0.1:0\"\n"+more)
	if o := s.firma(c.state, "authority", "-c", c.config, "generate-key"); o.Code != 0 {
		s.t.Fatalf("generate-key: %s", o.Stderr)
	}
	for file, mode := range map[string]os.FileMode{"firma-authority.key": 0o600, "firma-authority.pub": 0o644} {
		if st, err := os.Stat(filepath.Join(c.dir, file)); err != nil || st.Mode().Perm() != mode {
			s.t.Errorf("%s: %v, %v", file, st, err)
		}
	}
	return c
}

func (c *controlPlane) public() string { return filepath.Join(c.dir, "firma-authority.pub") }

// serve runs firma authority and returns its URL.
func (c *controlPlane) serve() (*process, string) {
	c.s.t.Helper()
	p := c.s.start(c.state, nil, "authority", "-c", c.config)
	p.says("authority listening")
	return p, "http://" + regexp.MustCompile(`listening" .*addr=(\S+)`).FindStringSubmatch(p.err.String())[1]
}

// issue writes a seed and returns its path; more are flags.
func (c *controlPlane) issue(session string, more ...string) string {
	c.s.t.Helper()
	path := filepath.Join(c.dir, fmt.Sprintf("seed-%d.toml", c.s.serial.Add(1)))
	c.issueTo(path, session, more...)
	return path
}

func (c *controlPlane) issueTo(path, session string, more ...string) {
	c.s.t.Helper()
	args := []string{"authority", "-c", c.config, "issue", "--agent-id", "local-dev", "--session-id", session, "--output", path}
	if !strings.Contains(strings.Join(more, " "), "--action ") {
		more = append(more, "--action", "code.read", "--action", "code.write")
	}
	if o := c.s.firma(c.state, append(args, more...)...); o.Code != 0 {
		c.s.t.Fatalf("issue: %s", o.Stderr)
	}
}

// seeded is a Sidecar configuration that takes seeds of this plane.
func (c *controlPlane) seeded(listen string, paths ...string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return c.s.base(listen) + fmt.Sprintf("[sidecar.authority]\npublic_key_path = %q\n[sidecar.capability_seed]\npaths = [%s]\n",
		c.public(), strings.Join(quoted, ", "))
}

// led is a Sidecar configuration that follows the plane at url.
func (c *controlPlane) led(listen, url string) string {
	return c.s.base(listen) + fmt.Sprintf("[sidecar.authority]\nurl = %q\npublic_key_path = %q\n[sidecar.authority.credentials]\nworkspace_id = \"w\"\nsidecar_id = \"s\"\npre_shared_key_path = %q\n",
		url, c.public(), filepath.Join(c.state, "keys", "authority.psk"))
}

func tokenID(s *stage, seed string) string {
	s.t.Helper()
	data, err := os.ReadFile(seed)
	must(s.t, err)
	return regexp.MustCompile(`token_id = '(\S+)'`).FindStringSubmatch(string(data))[1]
}
