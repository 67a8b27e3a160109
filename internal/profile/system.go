package profile

import (
	"fmt"
	"os"
	"path/filepath"

	"firma/internal/sandbox"
)

// etcFiles are what libc, TLS and language runtimes read in /etc. They are
// copied: a mount each would be most of what setting up a sandbox costs. Nothing in
// them is secret on a sane host, and nothing else of /etc is inside; shadow and
// ssl/private matter most as root, where the agent owns what root owns.
var etcFiles = []string{
	"bash.bashrc", "ca-certificates.conf", "debian_version", "gai.conf", "host.conf", "inputrc", "ld.so.cache",
	"locale.alias", "locale.conf", "localtime", "login.defs", "lsb-release", "magic", "maven/logging/simplelogger.properties",
	"maven/m2.conf", "mime.types", "os-release",
	"pki/tls/cert.pem", "pki/tls/openssl.cnf", "protocols", "rpc", "services", "shells", "ssl/cert.pem",
	"ssl/openssl.cnf", "timezone",
}

// etcDirs are mounted, where they exist.
var etcDirs = []string{"alternatives", "crypto-policies", "fonts", "pki/ca-trust", "pki/tls/certs", "ssl/certs"}

const maxEtcFile = 1 << 20

// system shows the operating system read-only and gives the agent its private
// places.
func (v *View) system() {
	for _, p := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		st, err := os.Lstat(p)
		switch {
		case err != nil:
		case st.Mode()&os.ModeSymlink != 0:
			if target, err := os.Readlink(p); err == nil {
				v.Spec.Symlinks = append(v.Spec.Symlinks, sandbox.Symlink{Path: p, Target: target})
			}
		default:
			v.show(p, false)
		}
	}
	v.etc()
	v.Spec.Private = []sandbox.Private{
		{Path: "/tmp", Mode: 0o777 | os.ModeSticky},
		{Path: "/var/tmp", Mode: 0o777 | os.ModeSticky},
		{Path: "/run", Mode: 0o755},
		{Path: v.Spec.Identity.Home, Mode: 0o700},
	}
	v.Spec.Symlinks = append(v.Spec.Symlinks, sandbox.Symlink{Path: "/var/run", Target: "/run"})
}

func (v *View) etc() {
	for _, name := range etcFiles {
		p := "/etc/" + name
		st, err := os.Lstat(p)
		if err != nil {
			continue
		}
		if v.etcLink(p, st) || !st.Mode().IsRegular() || st.Size() > maxEtcFile {
			continue
		}
		if data, err := os.ReadFile(p); err == nil {
			v.Spec.Files = append(v.Spec.Files, sandbox.File{Path: p, Data: data})
		}
	}
	dirs := etcDirs
	java, _ := filepath.Glob("/etc/java-*-openjdk")
	for _, p := range java {
		dirs = append(dirs[:len(dirs):len(dirs)], p[len("/etc/"):])
	}
	for _, name := range dirs {
		p := "/etc/" + name
		if st, err := os.Lstat(p); err == nil && !v.etcLink(p, st) && st.IsDir() {
			v.show(p, false)
		}
	}
}

// etcLink keeps a symbolic link as it is: it leads to what is shown (/usr), or
// nowhere.
func (v *View) etcLink(p string, st os.FileInfo) bool {
	if st.Mode()&os.ModeSymlink == 0 {
		return false
	}
	if target, err := os.Readlink(p); err == nil {
		v.Spec.Symlinks = append(v.Spec.Symlinks, sandbox.Symlink{Path: p, Target: target})
	}
	return true
}

// identity writes the files that name the agent and its resolver.
func (v *View) identity() {
	a := v.Spec.Identity
	root, group := "root:x:0:0:root:/root:/usr/sbin/nologin\n", "root:x:0:\n"
	if a.UID == 0 {
		root = ""
	}
	if a.GID == 0 {
		group = ""
	}
	v.Spec.Files = append(v.Spec.Files,
		file("/etc/passwd", "%s%s:x:%d:%d:agent:%s:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", root, a.Name, a.UID, a.GID, a.Home),
		file("/etc/group", "%s%s:x:%d:\nnogroup:x:65534:\n", group, a.Name, a.GID),
		file("/etc/hosts", "127.0.0.1 localhost %s\n::1 localhost\n", a.Hostname),
		file("/etc/hostname", "%s\n", a.Hostname),
		file("/etc/resolv.conf", "nameserver 127.0.0.1\noptions ndots:0 timeout:1 attempts:1\n"),
		file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\n"),
	)
}

func file(path, format string, args ...any) sandbox.File {
	return sandbox.File{Path: path, Data: fmt.Appendf(nil, format, args...)}
}
