//go:build linux

package launch

import (
	"fmt"
	"path/filepath"

	"golang.org/x/term"
)

// divertLog sends log lines, those of the run's processes too, to a file while the
// agent owns the terminal they would be shown on.
func (r *run) divertLog() {
	sink := r.opts.LogSink
	if sink == nil || sink.File() || r.streams.master == nil || !term.IsTerminal(int(r.std.Err.Fd())) {
		return
	}
	sink.Divert(filepath.Join(r.opts.StateDir, "logs", r.ids.sandbox+".log"))
}

// restoreLog gives log lines the terminal back, and says where the others are.
func (r *run) restoreLog() {
	if r.opts.LogSink == nil {
		return
	}
	if path := r.opts.LogSink.Restore(); path != "" {
		fmt.Fprintln(r.std.Err, "firma: log", path)
	}
}
