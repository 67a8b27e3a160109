package doctor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"firma/internal/testkit/freeport"
)

// on runs the commands on a poorer host that has mounts of its own.
func (h *host) on(t *testing.T, name string) {
	t.Helper()
	h.attr = apart(h.World)
	h.wrap = []string{poorer(t, h.World, name)}
}

// configured writes the configuration that both commands find.
func (h *host) configured(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(h.Base, "firma.toml")
	must(t, errors.Join(os.WriteFile(path, []byte(text), 0o600), h.Account.Own(path)))
	h.env = append(h.env, "FIRMA_CONFIG="+path)
}

// TestPlacesTakenAway: what a host lacks beside rights: its /proc, processes, root
// certificates, and what is to be reached over a socket.
func TestPlacesTakenAway(t *testing.T) {
	for _, c := range []struct {
		name  string
		take  func(t *testing.T, h *host)
		fault string
		fix   string
	}{
		{"proc is covered", func(t *testing.T, h *host) { h.on(t, "proc-hidden") }, "SandboxSetupFailed", "proc"},
		{"no more processes", func(t *testing.T, h *host) {
			h.wrap = []string{poorer(t, h.World, "no-processes")}
		}, "ChildNotStarted", "ulimit -u"},
		{"no root certificates", func(t *testing.T, h *host) {
			h.configured(t, "[sidecar.interceptor.https_mitm]\nenabled = true\n")
			h.on(t, "no-roots")
		}, "SystemRootsMissing", "ca-certificates"},
		{"the configured Sidecar is gone", func(t *testing.T, h *host) {
			addr, err := freeport.Address()
			must(t, err)
			h.configured(t, fmt.Sprintf("[run.profiles.generic]\nsidecar_endpoint = \"tcp://%s\"\n", addr))
		}, "SidecarUnreachable", "start it there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyone(t, func(t *testing.T, h *host) {
				c.take(t, h)
				h.wantEqual(t, c.fault, c.fix)
			})
		})
	}
}

// TestNotNeeded: what no run needs may be missing: both work.
func TestNotNeeded(t *testing.T) {
	for name, take := range map[string]func(t *testing.T, h *host){
		"cgroups": func(t *testing.T, h *host) { h.on(t, "no-cgroups") },
		"the host's ports of the same numbers": func(t *testing.T, _ *host) {
			for _, port := range []string{"18080", "53"} {
				ln, err := net.Listen("tcp", "127.0.0.1:"+port)
				if err != nil {
					t.Logf("port %s is taken already, or not ours to take: %v", port, err)
					continue
				}
				t.Cleanup(func() { ln.Close() })
			}
		},
		"a bwrap that says it is old": func(t *testing.T, h *host) {
			real, err := exec.LookPath("bwrap")
			must(t, err)
			h.path(t, "[ \"$1\" = --version ] && { echo bubblewrap 0.4.0; exit 0; }\nexec "+real+" \"$@\"\n")
			h.env[len(h.env)-1] += ":/usr/bin:/bin"
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyone(t, func(t *testing.T, h *host) {
				take(t, h)
				h.wantWorking(t)
			})
		})
	}
}

// TestReadOnlyPlaces: directories of the account that can't be written to: doctor and
// run agree on whether that matters.
func TestReadOnlyPlaces(t *testing.T) {
	everyone(t, func(t *testing.T, h *host) {
		if os.Geteuid() != 0 {
			t.Skip("only root can mount read-only")
		}
		for _, dir := range []string{h.Tmp, h.Runtime, h.Home, h.Project} {
			t.Run(filepath.Base(dir), func(t *testing.T) {
				must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
				t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
				must(t, unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
				h.wantAgreement(t)
			})
		}
	})
}

// wantAgreement fails unless run works exactly if doctor says so, or fails with the
// one fault of doctor's.
func (h *host) wantAgreement(t *testing.T) {
	t.Helper()
	run := h.run(t)
	if run.code == 0 {
		h.wantWorking(t)
		return
	}
	said := faultLine.FindStringSubmatch(run.stderr)
	if said == nil {
		t.Fatalf("run: %+v", run)
	}
	h.wantEqual(t, said[1], "")
}
