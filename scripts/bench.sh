#!/bin/bash
# Speed as ratios against a baseline in the same run. Machines differ and are
# noisy: read the medians and the ratios, not the milliseconds.
set -euo pipefail

firma=$PWD/bin/firma
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export FIRMA_STATE_DIR=$dir/state
runs=${RUNS:-40}

python3 - "$firma" "$runs" <<'P'
import os, resource, statistics, subprocess, sys, time

firma, runs = sys.argv[1], int(sys.argv[2])
bare = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "/bin/true"]
full = [firma, "run", "--quiet", "--authority", "local", "--", "/bin/true"]

def once(argv):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall * 1e3, (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3

once(full), once(bare)  # warm caches; the first run of a state directory makes keys
pairs = [(once(full), once(bare)) for _ in range(runs)]
wall = statistics.median(a[0] / b[0] for a, b in pairs)
print("start-up of /bin/true, %d pairs (median, ms)" % runs)
print("  firma run   wall %6.1f" % statistics.median(a[0] for a, _ in pairs))
print("  bare bwrap  wall %6.1f" % statistics.median(b[0] for _, b in pairs))
print("  ratio       %.1f (aim: at most 3)" % wall)
P

echo
echo "the pipeline, per request (go test -bench; the proxy beside net/http's ReverseProxy)"
go test ./internal/sidecar/proxy ./internal/policy ./internal/audit -run '^$' -bench . -benchtime 1s 2>/dev/null | grep -E '^Benchmark|^pkg' || true
