package doctor

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/sandbox/bwrap"
)

func (x *exam) binary() finding {
	if _, err := os.Stat(x.Program); err != nil {
		return bad(fault.Wrap(err, "SandboxSetupFailed", "firma's own program can't be opened", "mount /proc"))
	}
	path, err := os.Readlink(x.Program)
	if err != nil {
		path = x.Program
	}
	return good("firma " + x.Version + " " + runtime.GOOS + "/" + runtime.GOARCH).with(path)
}

// host tries bwrap and what the kernel lets it do, one thing at a time.
func (x *exam) host(ctx context.Context) {
	x.step("bwrap.present", func() finding {
		var err error
		x.bwrap, err = bwrap.Lookup()
		return judge(err, x.bwrap)
	})
	x.step("bwrap.mode", func() finding { return judge(bwrap.CheckMode(x.bwrap), "not setuid") })
	x.step("bwrap.version", func() finding { return x.version(ctx) })
	x.step("devices.nodes", func() finding {
		if os.Geteuid() != 0 {
			return good("the host's nodes serve, since the agent does not own them")
		}
		return judge(bwrap.TryDevices(), "device nodes of their own can be made")
	})
	x.probe(ctx, "userns.create", "user namespaces can be created", "--unshare-user")
	x.probe(ctx, "userns.map", "another uid and gid can be mapped", "--unshare-user", "--uid", "1000", "--gid", "1000")
	x.probe(ctx, "namespaces.create", "pid, ipc, uts and cgroup namespaces can be created",
		"--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup")
	x.probe(ctx, "netns.loopback", "a network namespace gets its loopback address", "--unshare-user", "--unshare-net")
	x.add("apparmor.userns", bwrapCategory, x.appArmor())
	x.probe(ctx, "mounts.proc", "a private /proc can be mounted", "--unshare-user", "--unshare-pid", "--proc", "/proc")
	x.probe(ctx, "mounts.dev", "a private /dev can be made", "--unshare-user", "--dev", "/dev")
	x.add("landlock.available", bwrapCategory, landlock())
	x.add("cgroups.available", bwrapCategory, cgroups())
}

func (x *exam) probe(ctx context.Context, code, works string, options ...string) {
	x.step(code, func() finding {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return judge(bwrap.Probe(ctx, x.bwrap, options...), works)
	})
}

// version only warns: what bwrap can do is tried, not read off its number.
func (x *exam) version(ctx context.Context) finding {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v := bwrap.Version(ctx, x.bwrap)
	if tested(v) {
		return good(v)
	}
	return finding{status: Warn, reason: "version " + v + "; firma is tested with 0.8 and later", fix: "if a step below fails, install a newer bubblewrap"}
}

// tested reports whether v is at least 0.8.
func tested(v string) bool {
	major, rest, _ := strings.Cut(v, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (a > 0 || b >= 8)
}

// appArmor says whether the restriction of the guide is in force, and whether
// bwrap is exempt from it, which netns.loopback has shown.
func (x *exam) appArmor() finding {
	switch value := bwrap.ReadHost().AppArmor; {
	case value == "":
		return good("this kernel does not restrict user namespaces by AppArmor")
	case value == "0":
		return good("kernel.apparmor_restrict_unprivileged_userns = 0")
	case x.blocked == "":
		return good("kernel.apparmor_restrict_unprivileged_userns = " + value + ", and bwrap is exempt")
	}
	return finding{status: Warn, reason: "kernel.apparmor_restrict_unprivileged_userns is set, and " + x.blocked + " failed", fix: bwrap.AppArmorFix}
}

func landlock() finding {
	abi := launch.LandlockABI()
	if abi < 2 {
		return finding{status: Warn, reason: "this kernel has no Landlock of ABI 2 (Linux 5.19): the agent can trace pid 1 of its sandbox, which gets it around the syscall filter, not out",
			fix: "use a newer kernel, with landlock among its security modules (lsm=landlock,…)"}
	}
	return good(fmt.Sprintf("ABI %d", abi))
}

// cgroups informs: this version sets no limits through them.
func cgroups() finding {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		return good("none are mounted; firma needs none")
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		return good("version 1 or mixed; firma needs none")
	}
	controllers, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	return good("version 2; firma needs none").with(strings.TrimSpace(string(controllers)))
}
