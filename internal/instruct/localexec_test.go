package instruct

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firma/internal/config"
	"firma/internal/control"
	"firma/internal/fault"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("/etc/x/firma.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLocalExec(t *testing.T) {
	if got := LocalExec(parse(t, ""), "/state", "sbx_1"); got != nil {
		t.Errorf("without a table: %+v", got)
	}
	got := LocalExec(parse(t, "[sidecar.local_exec]\ndefault_action = 'allow'\ntoken_ttl = '1m'\n"), "/state", "sbx_1")
	want := &control.LocalExec{Socket: "/state/run/sbx_1/local-exec.sock", Management: "/state/run/sbx_1/approvals.sock", DefaultAction: "allow", TokenTTL: time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = LocalExec(parse(t, "[sidecar.local_exec]\nsocket_path = '/p/g.sock'\n"), "/state", "sbx_1")
	if diff := cmp.Diff(&control.LocalExec{Socket: "/p/g.sock", Management: "/p/g-approve.sock"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLocalExecAlone(t *testing.T) {
	unix, tcp := control.Endpoint{Network: "unix", Address: "/run/f/side.sock"}, control.Endpoint{Network: "tcp", Address: "127.0.0.1:8080"}
	for _, tt := range []struct {
		text string
		at   control.Endpoint
		want *control.LocalExec
		err  string
	}{
		{"", tcp, nil, ""},
		{"[sidecar.local_exec]", unix, &control.LocalExec{Socket: "/run/f/side-tools.sock", Management: "/run/f/side-tools-approve.sock"}, ""},
		{"[sidecar.local_exec]", tcp, nil, "ConfigValidation"},
		{"[sidecar.local_exec]\nsocket_path = '/p/g'", tcp, &control.LocalExec{Socket: "/p/g", Management: "/p/g-approve"}, ""},
	} {
		got, err := LocalExecAlone(parse(t, tt.text), tt.at)
		if diff := cmp.Diff(tt.want, got); diff != "" || fault.NameOf(err) != tt.err {
			t.Errorf("%q at %v: %v\n%s", tt.text, tt.at, err, diff)
		}
	}
}

func TestApproveSockets(t *testing.T) {
	state := t.TempDir()
	for _, id := range []string{"sbx_1", "sbx_2", "other"} {
		if err := os.MkdirAll(RunDir(state, id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	one, two := filepath.Join(RunDir(state, "sbx_1"), ApproveSocket), filepath.Join(RunDir(state, "sbx_2"), ApproveSocket)
	if err := errors.Join(os.WriteFile(one, nil, 0o600), os.WriteFile(two, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"":                     {two, one},
		"[sidecar.local_exec]": {two, one},
		"[sidecar.local_exec]\nsocket_path='/p/g'":                                                   {"/p/g-approve", two, one},
		"[sidecar.local_exec]\n[sidecar.interceptor]\nmode='unix_socket'\nsocket_path='/run/s.sock'": {"/run/s-tools-approve.sock", two, one},
	} {
		if got := ApproveSockets(parse(t, text), state); !cmp.Equal(got, want) {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := ApproveSockets(parse(t, ""), filepath.Join(state, "none")); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
