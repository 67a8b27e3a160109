// Package localexec plays the command gate against the real firma run: gates that
// answer every wrong thing, and the run's own gate with its approvals. A command
// that was not allowed must not have been executed, which its side effect would
// show: it writes a file into a workspace that it may write to.
//
// The binary is $FIRMA_BIN, or bin/firma of this tree. As root, every story is
// played twice: by root and by an ordinary account.
package localexec
