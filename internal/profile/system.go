package profile

import (
	"fmt"
	"os"

	"firma/internal/sandbox"
)

// etc lists what libc, TLS and language runtimes read there. Nothing in it is
// secret on a sane host; /etc/ssl/private and /etc/shadow are not in it, which
// matters most as root, where the agent owns what root owns.
var etc = []string{
	"/etc/alternatives", "/etc/bash.bashrc", "/etc/ca-certificates", "/etc/ca-certificates.conf",
	"/etc/crypto-policies", "/etc/debian_version", "/etc/fonts", "/etc/gai.conf", "/etc/host.conf",
	"/etc/inputrc", "/etc/java", "/etc/java-17-openjdk", "/etc/ld.so.cache", "/etc/ld.so.conf",
	"/etc/ld.so.conf.d", "/etc/locale.alias", "/etc/locale.conf", "/etc/localtime", "/etc/login.defs",
	"/etc/lsb-release", "/etc/magic", "/etc/mime.types", "/etc/os-release", "/etc/pki/ca-trust",
	"/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/profile.d",
	"/etc/protocols", "/etc/python3", "/etc/rpc", "/etc/services", "/etc/shells", "/etc/ssl/certs",
	"/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/terminfo", "/etc/timezone", "/etc/vimrc", "/etc/vim",
}

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
	for _, p := range etc {
		v.etcEntry(p)
	}
	v.Spec.Private = []sandbox.Private{
		{Path: "/tmp", Mode: 0o777 | os.ModeSticky},
		{Path: "/var/tmp", Mode: 0o777 | os.ModeSticky},
		{Path: "/run", Mode: 0o755},
		{Path: Agent.Home, Mode: 0o700},
	}
	v.Spec.Symlinks = append(v.Spec.Symlinks, sandbox.Symlink{Path: "/var/run", Target: "/run"})
}

// etcEntry keeps symbolic links that stay within what is shown (alternatives,
// localtime), and follows the rest.
func (v *View) etcEntry(p string) {
	st, err := os.Lstat(p)
	if err != nil {
		return
	}
	if st.Mode()&os.ModeSymlink != 0 {
		if target, err := os.Readlink(p); err == nil {
			v.Spec.Symlinks = append(v.Spec.Symlinks, sandbox.Symlink{Path: p, Target: target})
		}
		return
	}
	v.show(p, false)
}

// identity writes the files that name the agent and its resolver.
func (v *View) identity() {
	a := Agent
	v.Spec.Files = append(v.Spec.Files,
		file("/etc/passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n%s:x:%d:%d:agent:%s:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", a.Name, a.UID, a.GID, a.Home),
		file("/etc/group", "root:x:0:\n%s:x:%d:\nnogroup:x:65534:\n", a.Name, a.GID),
		file("/etc/hosts", "127.0.0.1 localhost %s\n::1 localhost\n", a.Hostname),
		file("/etc/hostname", "%s\n", a.Hostname),
		file("/etc/resolv.conf", "nameserver 127.0.0.1\noptions ndots:0 timeout:1 attempts:1\n"),
		file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nprotocols: files\nservices: files\n"),
	)
}

func file(path, format string, args ...any) sandbox.File {
	return sandbox.File{Path: path, Data: fmt.Appendf(nil, format, args...)}
}
