#!/bin/sh
# Runs each fuzz target for a while. Go fuzzes one target of one package at a
# time, and silently none when the name is wrong: so the names are listed from
# the code.
set -eu
time=${1:-10s}
grep -rlE '^func Fuzz' --include='*_test.go' internal cmd test | while read -r file; do
	pkg=./$(dirname "$file")
	grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | cut -d' ' -f2 | while read -r target; do
		echo "== $pkg $target"
		go test "$pkg" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
	done
done
