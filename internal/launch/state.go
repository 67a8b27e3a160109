//go:build linux

package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"firma/internal/fault"
)

// CheckState says why dir can't be the state directory of this user's runs: it
// can't be made or written, or somebody else may change or see what is kept
// there. It makes nothing. Errors are faults named StateDirNotWritable or StateDirInsecure.
func CheckState(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return canMake(dir)
	case err != nil:
		return notWritable(dir, err)
	case !st.IsDir():
		return notWritable(dir, errors.New("it is not a directory"))
	}
	if err := owned(dir); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return notWritable(dir, err)
	}
	return nil
}

func canMake(dir string) error {
	for d := filepath.Dir(dir); ; d = filepath.Dir(d) {
		err := unix.Access(d, unix.W_OK|unix.X_OK)
		if err == unix.ENOENT && d != "/" {
			continue
		}
		if err != nil {
			return notWritable(dir, fmt.Errorf("%s: %w", d, err))
		}
		return nil
	}
}

func owned(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return notWritable(dir, err)
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		return fault.New("StateDirInsecure", fmt.Sprintf("the state directory %s belongs to uid %d, and firma runs as uid %d", dir, st.Uid, os.Geteuid()),
			"name one of your own with --state-dir or FIRMA_STATE_DIR")
	case st.Mode&0o002 != 0, st.Mode&0o020 != 0 && st.Gid != st.Uid:
		return fault.New("StateDirInsecure", fmt.Sprintf("others may write to the state directory %s (mode %04o)", dir, st.Mode&0o7777),
			"look for what they may have left there, then `chmod 700 "+dir+"`")
	case st.Mode&0o077 != 0:
		return fault.New("StateDirInsecure", fmt.Sprintf("others may look into the state directory %s (mode %04o); it has to be 0700", dir, st.Mode&0o7777),
			"`chmod 700 "+dir+"`")
	}
	return nil
}

func notWritable(dir string, err error) error {
	return fault.Wrap(err, "StateDirNotWritable", "the state directory "+dir+" can't be written", "make it writable, or name another with --state-dir or FIRMA_STATE_DIR")
}
