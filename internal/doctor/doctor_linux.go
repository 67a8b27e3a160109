// Package doctor tries each step of a launch on its own and says what this host
// lacks, with the fix. It decides nothing itself: every check does what firma run
// does, with the same functions, and reports the fault that firma run would.
package doctor

import (
	"context"
	"errors"
	"time"

	"firma/internal/fault"
	"firma/internal/launch"
	"firma/internal/profile"
	"firma/internal/sandbox/seccomp/artifact"
)

// Status is how a check ended. The zero value is no status.
type Status string

// The statuses, from good to bad.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one thing that was tried.
type Check struct {
	Code     string `json:"code"` // stable; docs/doctor.md lists all
	Category string `json:"category"`
	Status   Status `json:"status"`
	Reason   string `json:"reason"` // of a failure: what firma run prints, its name first
	Detail   string `json:"detail,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

// Report is all that was tried, in a fixed order.
type Report struct {
	Checks   []Check `json:"checks"`
	Worst    Status  `json:"worst"`
	ExitCode int     `json:"exit_code"` // 0 nothing failed, 1 something did
}

// Options say what would be launched, and from where.
type Options struct {
	Version string   // of this firma
	Program string   // its path
	Flags   []string // of the last check's firma run
	DataDir string   // "" when there is none

	// Launch is what firma run would be told. Invalid is why it would not come to
	// that, as a fault; Launch are then the defaults.
	Launch    launch.Options
	Authority string // "local", a URL, or "" when none is configured
	Invalid   error

	Timeout time.Duration // of each attempt to reach something that runs already
}

// patience bounds every step of a launch that could hang.
const patience = 30 * time.Second

// exam is one run of all checks.
type exam struct {
	Options
	report  Report
	blocked string // the code of the first step of a launch that failed

	bwrap  string
	plan   *artifact.Plan
	filter []byte
	view   *profile.View
}

// Run tries everything. It changes nothing but a temporary directory, and starts
// no process that outlives it.
func Run(ctx context.Context, o Options) *Report {
	x := &exam{Options: o, report: Report{Worst: OK}}
	x.add("firma.binary", "firma binary", x.binary())
	x.host(ctx)
	x.filters()
	x.sandbox()
	x.otherBackends()
	x.others(ctx)
	x.directories()
	x.add("launch.run", "launch", x.launch(ctx))
	return &x.report
}

// finding is a check's result.
type finding struct {
	status              Status
	reason, detail, fix string
}

func good(reason string) finding { return finding{status: OK, reason: reason} }

// bad reports err as firma run does.
func bad(err error) finding {
	if fault.NameOf(err) == "" {
		err = fault.Wrap(err, "StartupFailed", "the run could not be started", "run again with --log-filter debug")
	}
	var f *fault.Error
	errors.As(err, &f)
	return finding{status: Fail, reason: f.Error(), fix: f.Fix}
}

// judge is good(reason) unless err says otherwise.
func judge(err error, reason string) finding {
	if err != nil {
		return bad(err)
	}
	return good(reason)
}

func (f finding) with(detail string) finding {
	f.detail = detail
	return f
}

func (x *exam) add(code, category string, f finding) {
	x.report.Checks = append(x.report.Checks, Check{code, category, f.status, f.reason, f.detail, f.fix})
	switch {
	case f.status == Fail:
		x.report.Worst, x.report.ExitCode = Fail, 1
	case f.status == Warn && x.report.Worst == OK:
		x.report.Worst = Warn
	}
}

// bwrapCategory holds the steps that build a sandbox.
const bwrapCategory = "sandbox bwrap"

// step is a check without which the next steps of a launch can't work: after one
// that failed they are not tried.
func (x *exam) step(code string, do func() finding) {
	if x.blocked != "" {
		x.add(code, bwrapCategory, finding{status: Warn, reason: "not tried, since " + x.blocked + " failed"})
		return
	}
	f := do()
	if f.status == Fail {
		x.blocked = code
	}
	x.add(code, bwrapCategory, f)
}
