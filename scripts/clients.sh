#!/bin/sh
# Makes bin/clients: what the end-to-end tests run inside the sandbox and no package
# of Debian holds ready. Node's come from the npm registry that this machine is
# configured for, Rust's are built from the sources that Debian packages, offline.
# What is there already is not made again.
set -eu
cd "$(dirname "$0")/.."
to=$PWD/bin/clients
mkdir -p "$to/rust"
if ! cmp -s test/clients/package-lock.json "$to/node/package-lock.json"; then
	rm -rf "$to/node" "$to/node.new"
	mkdir "$to/node.new"
	cp test/clients/package.json test/clients/package-lock.json "$to/node.new/"
	(cd "$to/node.new" && npm ci --silent --no-audit --no-fund --ignore-scripts)
	mv "$to/node.new" "$to/node"
fi
if ! cmp -s test/agents/package-lock.json "$to/agents/package-lock.json"; then
	rm -rf "$to/agents" "$to/agents.new"
	mkdir "$to/agents.new"
	cp test/agents/package.json test/agents/package-lock.json "$to/agents.new/"
	(cd "$to/agents.new" && npm ci --silent --no-audit --no-fund --ignore-scripts --omit=optional)
	mv "$to/agents.new" "$to/agents"
fi
cp -Rp test/clients/rust/. "$to/rust"
cd "$to/rust"
cargo --config 'source.crates-io.replace-with="debian"' --config 'source.debian.directory="/usr/share/cargo/registry"' build --quiet --offline
