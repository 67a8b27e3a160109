// Package seccomp damages the syscall filter's artifact in every way it can think
// of, and then asks the real firma run to launch: it must not, it must name the
// reason, and nothing may have been executed.
//
//	make build && go test -count=1 ./test/e2e/seccomp
package seccomp
