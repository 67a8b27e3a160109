package escape

import (
	"os"
	"strconv"
	"testing"
)

// B: interfaces of the kernel.
var kernelCases = []kase{
	{
		id: "B1", about: "sockets made and connected by io_uring",
		tries: func(y *yard) []attempt { return []attempt{try("io-uring", y.tcp4, "token")} },
	},
	{
		id: "B3", about: "calls by the numbers of another architecture",
		tries: func(y *yard) []attempt { return []attempt{try("int80", y.tcp4, "token"), try("x32")} },
	},
	{
		id: "B5", about: "new namespaces, and mounts in them or here",
		tries: func(y *yard) []attempt {
			var all []attempt
			for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
				all = append(all, try("unshare", ns).rootOnly())
			}
			for _, ns := range []string{"mnt", "pid", "net", "ipc", "uts", "cgroup"} {
				all = append(all, try("clone", ns).rootOnly(), try("clone3", ns).rootOnly())
			}
			return append(all,
				try("clone", "user"), try("clone3", "user"), try("unshare-user"), try("userns-mount", "/mnt"),
				try("mount-tmpfs", "/mnt").rootOnly(), try("mount-tmpfs", "/tmp").rootOnly(),
				try("mount-bind", "/", "/mnt").rootOnly(), try("mount-bind", "/proc/self/root", "/tmp").rootOnly(),
				try("umount", "/proc").rootOnly(), try("umount", y.Project).instead("umount", "/proc").rootOnly(),
				try("remount-rw", y.Project).instead("remount-rw", "/").rootOnly(), try("remount-rw", "/usr").instead("remount-rw", "/").rootOnly(),
				try("pivot-root", y.Project).rootOnly(), try("chroot", "/").rootOnly(),
				try("new-mount").rootOnly(), try("open-tree", "/").rootOnly(), try("open-tree-new", "/").rootOnly(),
				try("mount-setattr", y.Project).instead("mount-setattr", "/").rootOnly(),
				try("setns", "1").instead("setns", y.sleeper).rootOnly(),
			)
		},
	},
	{
		id: "B7", about: "another view of the host through procfs",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("proc-view", y.home("canary.txt")),
				try("read", "/proc/"+y.sleeper+"/environ"),
				try("list", "/proc/"+y.sleeper+"/root").unless("EACCES"),
				try("scan-proc", backwards(y)),
				try("read", "/proc/kcore").rootOnly().unless("ENOENT"),
				try("read", "/proc/kallsyms").expect(contained),
				try("read", "/proc/keys").expect(contained),
			}
		},
	},
	{
		id: "B9", about: "a set-user-id program, and privileges asked for",
		tries: func(y *yard) []attempt {
			suid := try("setuid-exec", y.in("setuid"))
			if os.Getuid() != 0 {
				suid = suid.instead("euid").noControl("only root can make a set-user-id program to try")
			}
			return []attempt{
				suid,
				try("capset").rootOnly(),
				try("setuid").noControl("only a capability allows it, and root is uid 0 already"),
				try("no-new-priv"),
			}
		},
	},
	{
		id: "B11", about: "socket families that are not the internet's",
		tries: socketFamilies,
	},
	{
		id: "B13", about: "calls that load, trace or reprogram the kernel",
		tries: func(*yard) []attempt {
			return []attempt{
				try("bpf").rootOnly(), try("keyctl"), try("add-key"), try("request-key"), try("userfaultfd").unless("EPERM"),
				try("perf").unless("EACCES"), try("fanotify"), try("syslog").rootOnly(),
				try("kexec").rootOnly(), try("kexec-file").rootOnly(),
				try("init-module").rootOnly(), try("finit-module").rootOnly(), try("delete-module").rootOnly(),
				try("reboot").rootOnly(), try("swapoff").rootOnly(), try("clock-settime").rootOnly(),
				try("open-by-handle", "/").rootOnly(),
			}
		},
	},
	{
		id: "B13-terminal", about: "typing into a terminal, with bits above the request too",
		tries: func(*yard) []attempt {
			return []attempt{
				try("tiocsti-own", "0").unless("EIO"), try("tiocsti-own", "1").unless("EIO"),
				try("tioclinux", "own", "0"), try("tioclinux", "own", "1"), try("tiocsetd"),
			}
		},
	},
	{
		id: "B15", about: "capabilities and the network's configuration",
		tries: func(y *yard) []attempt {
			return []attempt{
				try("capset").rootOnly(), try("securebits").rootOnly(), try("hostname").rootOnly(),
				try("addr-add", "127.99.99.99").rootOnly(), try("nice").rootOnly(),
				try("setuid-exec", y.in("setuid")).noControl("see B9"),
			}
		},
	},
	{
		id: "B15-kernel-files", about: "the kernel's own files: settings, memory, devices",
		tries: func(y *yard) []attempt {
			none := func(path string) attempt {
				return try("open-write", path).rootOnly().unless("ENOENT", "ENXIO", "ENODEV", "EIO", "EACCES", "EPERM", "EROFS")
			}
			all := each([]string{
				"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches",
				"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sysrq-trigger",
				"/proc/mtrr", "/proc/scsi/scsi", "/proc/timer_stats",
				"/sys/kernel/uevent_helper", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs",
				"/dev/mem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/loop-control", "/dev/vda", "/dev/sda",
				"/dev/vsock", "/dev/vhost-net", "/dev/uinput", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/mapper/control", "/dev/rtc0",
			}, none)
			return append(all,
				try("mknod", "/tmp/probe-node", "1", "1").rootOnly(),
				try("tmpfile", "/usr").rootOnly(), try("tmpfile", "/etc").rootOnly(), try("tmpfile", "/var").rootOnly(),
				try("tmpfile", "/").rootOnly(), try("open-write", "/etc/ld.so.cache").rootOnly(),
				try("chmod", "/dev/null").expect(contained).noControl("would change this machine's own device"),
				try("chmod", "/dev/urandom").expect(contained).noControl("would change this machine's own device"),
			)
		},
		check: func(t *testing.T, _ *yard, _ *ran) {
			for _, dev := range []string{"/dev/null", "/dev/urandom"} {
				st, err := os.Stat(dev)
				must(t, err)
				if st.Mode().Perm() != 0o666 {
					t.Errorf("ESCAPED     %s of the host has mode %o", dev, st.Mode().Perm())
				}
			}
		},
	},
}

// socketFamilies tries every family the kernel knows besides IPv4 and IPv6, raw
// sockets of those, and netlink beyond routing, which libc needs.
func socketFamilies(*yard) []attempt {
	var all []attempt
	open := func(family, typ, proto int) attempt {
		return try("socket", strconv.Itoa(family), strconv.Itoa(typ), strconv.Itoa(proto))
	}
	const stream, dgram, raw, seqpacket = 1, 2, 3, 5
	for _, typ := range []int{stream, dgram, seqpacket} {
		all = append(all, open(1, typ, 0)) // AF_UNIX
	}
	for _, family := range []int{17 /* PACKET */, 15 /* KEY */, 44 /* XDP */} {
		all = append(all, open(family, raw, 2).rootOnly())
	}
	for _, family := range []int{2, 10} {
		all = append(all, open(family, raw, 1).rootOnly(), open(family, raw, 255).rootOnly())
	}
	for _, proto := range []int{4 /* SOCK_DIAG */, 6 /* XFRM */, 9 /* AUDIT */, 12 /* NETFILTER */, 15 /* KOBJECT_UEVENT */, 16 /* GENERIC */} {
		all = append(all, open(16, raw, proto))
	}
	for _, typ := range []int{stream, dgram, raw, seqpacket} {
		for _, family := range []int{40 /* VSOCK */, 38 /* ALG */, 31 /* BLUETOOTH */, 30 /* TIPC */, 29 /* CAN */, 21, /* RDS */
			41 /* KCM */, 42 /* QIPCRTR */, 43 /* SMC */, 45 /* MCTP */, 39 /* NFC */, 36 /* IEEE802154 */, 24 /* PPPOX */, 3, 4, 5, 6, 9, 11, 35, 37} {
			all = append(all, open(family, typ, 0).unless("EPERM"))
		}
	}
	return all
}
