# The names people and CI use. `make help` lists them.
GO        ?= go
FUZZTIME  ?= 10s
BIN       := bin/firma
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD      = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build demo test check test-unit test-e2e test-escape test-conformance test-corpus bench bench-peers build-peers build-clients build-agents test-agents soak fuzz deps deps-test clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## bin/firma
	@mkdir -p bin
	$(BUILD) -o $(BIN) ./cmd/firma

demo: deps build ## the main job, with an ALLOW, DENYs and a verified log
	@$(BUILD) -o bin/firma-origin ./test/origin
	@scripts/demo.sh

test: deps-test check test-unit test-e2e test-escape test-conformance test-corpus ## everything CI runs

check: ## vet, staticcheck, formatting, other platforms
	@test -z "$$(gofmt -l cmd internal test)" || { gofmt -l cmd internal test; echo 'gofmt: the files above need formatting'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/firma
	GOOS=windows CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/firma
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/firma

test-unit: ## unit, property and rule tests with the race detector
	$(GO) test -race -timeout 10m $$($(GO) list ./... | grep -vE '/test/(e2e|escape|corpus)')

test-e2e: build build-clients ## three real roles, real clients
	$(GO) test -count=1 -timeout 15m ./test/e2e/...

test-agents: build build-agents ## six coding agents in the sandbox, against stand-ins for their providers
	FIRMA_TEST_AGENTS=$(CURDIR)/bin/agents $(GO) test -count=1 -timeout 15m -run '^TestAgents$$' -v ./test/e2e/

test-escape: build ## every escape class, from inside a real sandbox
	$(GO) test -count=1 -timeout 10m ./test/escape/...

test-conformance: ## h2spec, gRPC's interoperability suite and WebSocket cases against what agents see
	cd test/conformance && export GOFLAGS=-mod=mod && $(GO) vet ./... && $(GO) test -race -count=1 -timeout 5m ./...

test-corpus: build ## malformed and ambiguous messages, by every way in, against other parsers
	$(GO) test -count=1 -timeout 5m ./test/corpus/...

bench: build ## speed, as ratios against a baseline in the same run
	@scripts/bench.sh

bench-peers: build build-peers ## firma beside other proxies and sandboxes
	@bin/bench $(BENCH)

soak: build ## mixed traffic for DURATION (30m): flat memory and descriptors, logs that verify
	$(BUILD) -o bin/bench ./test/bench
	@bin/bench soak -duration $(or $(DURATION),30m)

build-clients: ## clients for test-e2e that a registry provides or that need a compiler
	@scripts/clients.sh

build-agents:
	@scripts/agents.sh

build-peers:
	@scripts/deps.sh peers
	$(BUILD) -o bin/bench ./test/bench
	@mkdir -p bin/peers
	cd test/peers && CGO_ENABLED=0 $(GO) build -trimpath -o ../../bin/peers/ . github.com/stripe/smokescreen github.com/Use-Tusk/fence/cmd/fence
	cd test/peers && npm ci --silent --no-audit --no-fund && rm -rf ../../bin/peers/node_modules && mv node_modules ../../bin/peers/

fuzz: ## every fuzz target for FUZZTIME (10s); FUZZ picks some by a regular expression
	@FUZZ='$(FUZZ)' scripts/fuzz.sh $(FUZZTIME) $(FUZZFLAGS)

deps: ## what the demo needs, from Debian's packages if missing
	@scripts/deps.sh demo

deps-test:
	@scripts/deps.sh test

clean:
	rm -rf bin
