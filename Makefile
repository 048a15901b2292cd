# The commands that people and CI run. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# libpg_query runs as WebAssembly; with cgo it would be compiled as C.
export CGO_ENABLED := 0
# A missing capability or server is a failure, never a skip.
export REQUIRE_ROOT := 1

# Packages with concurrency worth the race detector, which needs cgo. What
# imports libpg_query is left out: with cgo that is minutes of C.
RACE := ./pkg/agent ./pkg/approval ./pkg/attribution ./pkg/audit ./pkg/broker ./pkg/bus ./pkg/collector/... ./pkg/guard \
	./pkg/destination ./pkg/gitwire ./pkg/httpproxy ./pkg/identity ./pkg/protocol ./pkg/protocol/git ./pkg/protocol/kubernetes ./pkg/protocol/mysql ./pkg/protocol/ssh ./pkg/protocol/web ./pkg/redirect ./pkg/spool ./pkg/translog

.PHONY: help build generate fmt check lint test race fuzz bypass faults bench regress kernels boot demo clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build the three programs into bin/
	go build -trimpath -o bin/ ./cmd/...

generate: ## compile the eBPF programs and write the generated docs
	scripts/install-deps build
	go generate ./...

fmt: ## format Go and shell sources
	gofmt -w cmd deploy pkg testenv

check: ## format, vet, lint, layers, generated files; needs no root
	scripts/check

# Kernel, servers and containers are invisible to the test cache: -count=1.
test: ## all tests, with what they need installed
	scripts/install-deps build lab kube test
	go test -count=1 -timeout 20m ./...
	$(MAKE) race

race: ## the concurrent packages under the race detector
	CGO_ENABLED=1 go test -count=1 -race -timeout 15m $(RACE)

regress: ## PostgreSQL's own regression tests, directly and through the agent
	scripts/regress

fuzz: ## every fuzz target for FUZZTIME (default 20s)
	scripts/fuzz $(or $(FUZZTIME),20s)

# The test binary itself: go test would keep the table of a suite that passes.
bypass: ## every known way round the agent: technique, hook that stopped it, what the attacker saw
	scripts/install-deps build lab test
	go test -c -o bin/bypass.test ./testenv/bypass
	cd testenv/bypass && ../../bin/bypass.test -test.count=1 -test.timeout 30m -long

faults: ## break everything under load: what reached the database, and what of it has its record
	scripts/install-deps build lab test
	go test -c -o bin/faults.test ./testenv/faults
	cd testenv/faults && ../../bin/faults.test -test.count=1 -test.timeout 45m -long

bench: ## side-by-side ratios in one run: name, ratio, against
	scripts/install-deps build lab kube bench
	scripts/bench
	scripts/bench kube
	scripts/bench http

# Emulated: a quarter of an hour for each kernel, and for systemd.
kernels: ## the real-kernel tests in other kernels, under qemu; a table; then boot
	scripts/install-deps build kernels
	scripts/kernels
	$(MAKE) boot

boot: ## an installed node under a real systemd: start, reload, reboot; cgroup v1 alone; under qemu
	scripts/install-deps build lab boot
	scripts/boot -test.v

demo: ## the main job, start to end, on this machine; KEEP=1 leaves it up
	scripts/demo

clean: ## remove what was built
	rm -rf bin
