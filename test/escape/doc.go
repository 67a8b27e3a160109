// Package escape tries to get out of a real sandbox. Each case is a class of the
// reference list of escapes, named by its id there; each of its tries is a
// technique of the program in probe/.
//
// Every try is made twice. Outside first, as the positive control: it must
// succeed there, or the case is INVALID, since a try that fails everywhere proves
// nothing. Then inside `firma run`, where it must be refused. What convinces is
// not what the probe says but the far side: the baits' log must be empty and the
// host's files unchanged.
//
// As root, every case runs twice more: for root and for an ordinary account
// (firma-test, made when absent).
//
//	make build && go test -count=1 ./test/escape
//	go test -count=1 -v -run 'TestEscape/firma-test/B3$' ./test/escape
//	go test ./test/escape -args -wall=none    # no sandbox: everything must ESCAPE
//
// A verdict in the log is BLOCKED, CONTAINED (it worked, and stayed inside),
// ESCAPED, INVALID (the control failed: nothing is proved), DEAD (what must work
// does not), UNRECORDED (refused, but not in the audit log) or LIMIT (known to
// reach the host; the try says why). "no control" says which account or kernel
// can't have one, and why. TestTheSuiteCanFail keeps the suite honest: without a
// wall it has to find escapes.
//
// To add a technique, add a function to probe/ and a line to a case; to add a
// case, add one to the list of its file.
package escape
