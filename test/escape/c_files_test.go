package escape

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"firma/internal/testkit/canary"
)

func backwards(y *yard) string { return canary.Backwards(y.canary) }

// C: files, as the generic profile shows them.
var fileCases = []kase{
	{
		id: "C1", about: "writing through symbolic links, the agent's own and one it found",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("symlink-write", y.Home, y.in("l"), "pwn"),
				try("symlink-write", y.Home, "/tmp/probe-link-"+y.canary, "pwn").instead("symlink-write", y.Home, y.Tmp+"/l", "pwn2").expect(contained),
				try("create", y.in("hostlink", "pwn3")).expect(contained),
				try("append", y.in("hostlink", "canary.txt")),
				try("read", y.in("hostlink", "canary.txt")),
			}
		},
	},
	{
		id: "C5", about: "hard links to what must not be read or written",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("link-read", y.home(".ssh/id_ed25519"), y.in("h")),
				try("link", y.in("README"), y.in("h2")),
				try("link", y.in("README"), "/tmp/h3-"+y.canary).instead("link", y.in("README"), y.Tmp+"/h3"),
			}
		},
	},
	{
		id: "C11", about: "secrets: of the home, of the machine, of firma",
		tries: func(y *yard) []attempt {
			all := each(slices.Sorted(maps.Keys(canary.Secrets(""))), func(name string) attempt { return try("read", y.home(name)) })
			all = append(all, each([]string{"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/ssl-cert-snakeoil.key"},
				func(p string) attempt { return try("read", p).rootOnly().unless("ENOENT") })...)
			all = append(all, hostDirs()...)
			return append(all,
				try("scan-files", backwards(y), "/").instead("scan-files", backwards(y), y.Home),
				try("list", y.Home, "project"), try("list", y.Base, "home"), try("read", y.config),
				try("list", y.State), try("list", y.Runtime),
			)
		},
	},
	{
		id: "C11-path", about: "directories that PATH names are not a way to show secrets",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("read", y.home(".ssh/id_ed25519")), try("read", y.home("canary.txt")), try("read", y.home(".config/gh/hosts.yml")),
				try("read", y.home(".cargo/credentials.toml")), try("read", y.home("tools/.env")), try("read", "/etc/shadow").rootOnly(),
				try("list", y.Base, "home"),
			}
		},
		env: func(y *yard) []string {
			return []string{"PATH=/usr/bin:/bin:" + y.home("tools/bin") + ":" + y.home(".cargo/bin") + ":" + y.home(".config/bin") +
				":" + y.home(".ssh") + ":" + y.Home + ":/:/etc:/root:/proc:/dev:" + y.State + ":."}
		},
		prepare: func(t *testing.T, y *yard) {
			must(t, canary.Plant(y.Home, map[string]string{"tools/bin/tool": "", "tools/.env": y.canary, ".cargo/bin/cargo": "", ".config/bin/x": ""}))
		},
	},
	{
		id: "C13-shared", about: "places that all users of a host share are private here",
		tries: func(y *yard) []attempt {
			return each(sharedPlaces(y), func(path string) attempt {
				return try("create", path).expect(contained).noControl("would leave files in this machine's shared places")
			})
		},
		check: func(t *testing.T, y *yard, _ *ran) {
			for _, path := range sharedPlaces(y) {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("ESCAPED     %s is on the host", path)
				}
			}
		},
	},
	{
		id: "C13", about: "changing files and what is known of them, visible or not",
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, f := range []string{y.in("README"), y.home("canary.txt")} {
				for _, t := range []string{"chmod", "fchmod", "chown", "utime", "xattr", "fxattr", "flags", "append", "mmap-write", "fallocate", "truncate"} {
					all = append(all, try(t, f).unless("ENOTTY"))
				}
			}
			return append(all,
				try("create", y.in("new")), try("mkdir", y.in("newdir")), try("mkfifo", y.in("fifo")), try("tmpfile", y.Project),
				try("rename", y.in("src"), y.in("src2")).instead("rename", y.in("other"), y.in("other2")),
				try("exchange", y.in("src"), y.in(".git")),
				try("symlink", "x", y.in("sl")), try("unlink", y.in("src", "main.c")).noControl("the exchange above moved it; unlink is controlled in C9"),
				try("exe-write", "self").instead("exe-write", y.sleeper).unless("EACCES"),
				// What leads to the project is private and in memory.
				try("create", y.home("new")).expect(contained), try("tmpfile", y.Home).expect(contained),
			)
		},
	},
}

// hostDirs are directories that exist on this host, hold something, and are none
// of the agent's business.
func hostDirs() []attempt {
	var all []attempt
	for _, p := range []string{"/root", "/var/log", "/var/lib", "/var/spool", "/var/cache", "/boot", "/srv", "/opt", "/sys", "/etc/apt", "/etc/systemd", "/etc/default"} {
		if entries, err := os.ReadDir(p); err == nil && len(entries) > 0 {
			all = append(all, try("list", p).unless("EACCES"))
		}
	}
	return all
}

func sharedPlaces(y *yard) []string {
	var all []string
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/run/user", "/dev", "/dev/mqueue", "/var", "/home", "/mnt", "/media", "/srv", "/opt", "/"} {
		all = append(all, filepath.Join(dir, "probe-"+y.canary))
	}
	return all
}
