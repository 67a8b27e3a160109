#!/bin/sh
# Makes bin/agents: the coding agents that `make test-agents` runs inside the sandbox,
# from the npm registry that this machine is configured for. They unpack to 1.8 GB.
# None of their install scripts is run.
set -eu
cd "$(dirname "$0")/.."
mkdir -p bin/agents
cp test/agents/package.json bin/agents/
cd bin/agents
npm install --silent --no-audit --no-fund --no-save --no-package-lock --ignore-scripts \
	@google/gemini-cli@0.61.0 \
	@anthropic-ai/claude-code@2.1.332 \
	@github/copilot@1.0.102 \
	@openai/codex@0.171.0 \
	@qwen-code/qwen-code@0.24.4 \
	opencode-ai@1.18.33 \
	node-linux-"$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')"@22.23.3
