//go:build linux

package launch

import (
	"firma/internal/fault"
)

// Bwrap is the backend of Linux.
const Bwrap = "bwrap"

// CheckBackend refuses a backend that this host or version has not.
func CheckBackend(name string) error {
	const fix = "leave --backend out, or use --backend bwrap"
	switch name {
	case "", Bwrap:
		return nil
	case "firecracker":
		return fault.New("UnsupportedBackend", "the firecracker backend is not built in this version: it lacks the guest's kernel, root file system and life cycle", fix)
	case "vz":
		return fault.New("UnsupportedBackend", "the vz backend needs macOS, and is not built in this version", fix)
	case "wsl2":
		return fault.New("UnsupportedBackend", "the wsl2 backend needs Windows, and is not built in this version", fix+"; on Windows, run it in a Linux distribution under WSL 2")
	}
	return fault.New(fault.ArgumentInvalid, "there is no backend "+name, "use bwrap; vz, wsl2 and firecracker are known, and not built")
}
