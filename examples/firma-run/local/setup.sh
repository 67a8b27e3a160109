#!/bin/sh
# Makes .local/ for trying firma out: a Sidecar configuration, a mapping with one
# stub rule, and a signing key for the audit log. Files that exist are left alone,
# so it can be run again at any time.
#
#   examples/firma-run/local/setup.sh [DIR]      DIR: where .local goes; the repository
set -eu

root=${1:-$(cd "$(dirname "$0")/../../.." && pwd)}
dir=$root/.local
umask 077
mkdir -p "$dir"

# write FILE: standard input becomes FILE, unless there is one.
write() {
	if [ -e "$dir/$1" ]; then
		cat >/dev/null
		echo "kept     $dir/$1"
	else
		cat >"$dir/$1"
		echo "created  $dir/$1"
	fi
}

write firma.toml <<'EOF'
# A Sidecar for a first look at firma. docs/configuration.md has every key.

[sidecar.mapping]
rules_path = "mapping-rules.toml"
# Destinations that no rule covers are let through, and recorded. For a real
# workload: true, and rules for what the agent may reach.
default_protected = false

[sidecar.audit]
sink = "file"
file_path = "audit.jsonl" # each run adds its id: audit-sbx_….jsonl
signing_key_path = "audit-key.pem"

# firma authority needs a table of its own, which is not here: [authority]
EOF

write mapping-rules.toml <<'EOF'
# What a call is, so that policies can decide about it. docs/mapping-rules.md
version = 2

[[rules]]
method = "GET"
host = "stub.example.com"
path = "/**"
action_class = "code.read"
EOF

if [ -e "$dir/audit-key.pem" ]; then
	echo "kept     $dir/audit-key.pem"
elif command -v openssl >/dev/null 2>&1; then
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/audit-key.pem.new" 2>/dev/null
	mv "$dir/audit-key.pem.new" "$dir/audit-key.pem"
	echo "created  $dir/audit-key.pem"
else
	echo "setup.sh: openssl is needed to make the audit key: apt-get install openssl" >&2
	exit 1
fi

cat <<EOF

Next:
  firma run --config $dir/firma.toml --authority local -- curl https://example.com
EOF
