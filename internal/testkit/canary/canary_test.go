package canary

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ask(t *testing.T, network, addr, text string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestBaitsAnswerAndRemember(t *testing.T) {
	y := &Yard{}
	t.Cleanup(func() { _ = y.Close() })
	tcp, err := y.TCP("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := y.UDP("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	abstract := "@bait" + Value()
	if err := y.Unix("path", path); err != nil {
		t.Fatal(err)
	}
	if err := y.Unix("abstract", abstract); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bait, network, addr string }{
		{"tcp", "tcp", tcp.String()}, {"udp", "udp", udp.String()},
		{"path", "unix", path}, {"abstract", "unix", abstract},
	} {
		y.Reset()
		if got := ask(t, c.network, c.addr, "token"); got != "token" {
			t.Errorf("%s answered %q", c.bait, got)
		}
		hits := y.Hits()
		if last := hits[len(hits)-1]; last.Bait != c.bait || last.Payload != "token" {
			t.Errorf("%s remembers %v", c.bait, hits)
		}
	}
	if got := ask(t, "unix", path, "GET /v1.41/containers/json HTTP/1.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("HTTP answer %q", got)
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("socket file left: %v", err)
	}
}

func TestNameServerRemembersQuestions(t *testing.T) {
	y := &Yard{}
	t.Cleanup(func() { _ = y.Close() })
	addr, err := y.DNS("dns", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &net.Resolver{PreferGo: true}
	r.Dial = func(context.Context, string, string) (net.Conn, error) { return net.Dial("udp", addr.String()) }
	got, err := r.LookupHost(t.Context(), "secret.evil.test")
	if err != nil || len(got) != 1 || got[0] != "203.0.113.9" {
		t.Errorf("answer %v, %v", got, err)
	}
	for _, h := range y.Hits() {
		if strings.Contains(h.Payload, "secret.evil.test.") {
			return
		}
	}
	t.Errorf("not remembered: %v", y.Hits())
}

func TestSnapshotSeesEveryKindOfChange(t *testing.T) {
	changes := map[string]func(dir string) error{
		"content":   func(d string) error { return os.WriteFile(d+"/f", []byte("b"), 0o600) },
		"mode":      func(d string) error { return os.Chmod(d+"/f", 0o644) },
		"hard link": func(d string) error { return os.Link(d+"/f", d+"/../h") },
		"removed":   func(d string) error { return os.Remove(d + "/f") },
		"new":       func(d string) error { return os.Mkdir(d+"/n", 0o700) },
		"link":      func(d string) error { return os.Symlink("/", d+"/l") },
	}
	for name, change := range changes {
		dir := filepath.Join(t.TempDir(), "d")
		if err := Plant(dir, map[string]string{"f": "a"}); err != nil {
			t.Fatal(err)
		}
		before, err := Snapshot(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := Snapshot(dir, nil); err != nil || len(same.Diff(before)) != 0 {
			t.Errorf("%s: unchanged tree differs: %v, %v", name, same.Diff(before), err)
		}
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if after, err := Snapshot(dir, nil); err != nil || len(after.Diff(before)) == 0 {
			t.Errorf("%s: not seen (error %v)", name, err)
		}
	}
}

func TestPlantStaysUnderItsRoot(t *testing.T) {
	if err := Plant(t.TempDir(), map[string]string{"../x": ""}); err == nil {
		t.Error("planted outside")
	}
}
