package registries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// maxOutput bounds what a client may print: 1 MiB.
const maxOutput = 1 << 20

var errOutput = errors.New("printed more than 1 MiB")

// run starts a client in the neutral directory with the operator's environment
// and returns what it printed. extra variables win over the operator's.
func (h *host) run(ctx context.Context, exe string, extra []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Dir = neutral(exe)
	cmd.Env = append(append([]string{}, h.Env...), append(extra, "PWD="+cmd.Dir)...)
	cmd.WaitDelay = 200 * time.Millisecond
	out := &limited{}
	cmd.Stdout = out
	ownGroup(cmd)
	if err := cmd.Run(); err != nil {
		endGroup(cmd)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w", exe, err)
	}
	return out.buf.Bytes(), nil
}

type limited struct{ buf bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > maxOutput {
		return 0, errOutput
	}
	return l.buf.Write(p)
}
