#!/bin/sh
# Fuzzes each target for a while (first argument, 10s unless said; those after it
# go to go test) and prints a line for each, with what it found beneath. A second
# finding is not hidden by a first: all targets run, and any failure is the exit's.
# FUZZ, a regular expression, picks targets by "package name".
#
# Go fuzzes one target of one package at a time, and silently none when the name is
# wrong: so the names are listed from the code, and a run of nothing is a failure.
# It would also shorten each new input for up to a minute, which is all the time
# there is where goroutines or TLS make coverage differ from run to run: ten tries
# must do.
set -eu
time=${1:-10s}
[ $# -eq 0 ] || shift
said=$(mktemp)
trap 'rm -f "$said"' EXIT
trap 'exit 130' INT TERM
failed=0
targets=$(grep -rE --include='*_test.go' '^func Fuzz' internal cmd test |
	sed -nE 's,/[^/]*:func (Fuzz[A-Za-z0-9_]+)\(.*, \1,p' | sort | grep -E "${FUZZ:-.}") || {
	echo "fuzz: no target matches FUZZ='${FUZZ:-}'" >&2
	exit 1
}
while read -r pkg target; do
	result=ok
	go test "./$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$@" >"$said" 2>&1 || result=FAILED
	# The end of the time is no finding, although Go may call it one.
	if grep -q 'context deadline exceeded' "$said" && ! grep -q 'Failing input' "$said"; then result=ok; fi
	last=$(sed -nE 's/^fuzz: elapsed: ([^,]*), execs: ([0-9]+).*new interesting: ([0-9]+).*/\2 executions in \1, \3 new inputs/p' "$said" | tail -n 1)
	[ -n "$last" ] || result=FAILED
	printf '%-6s %-34s %-24s %s\n' "$result" "${pkg#internal/}" "$target" "${last:-never ran}"
	[ "$result" = ok ] || { failed=1; sed 's/^/       /' "$said"; }
done <<END
$targets
END
exit $failed
