# The commands of this project. Each installs or names what it needs; compiled things live in ~/.cache/holdfast.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ENV := . scripts/env.sh;

.PHONY: help
help: ## Lists the commands.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: ## Builds the holdfast binary.
	@scripts/setup.sh build
	@$(ENV) cargo build --release --locked --bin holdfast && mkdir -p target && ln -sf "$$CARGO_TARGET_DIR/release/holdfast" target/holdfast && echo "built target/holdfast"

.PHONY: run
run: build ## Builds and starts the service on 127.0.0.1:8081 with the embedded defaults.
	@$(ENV) exec "$$CARGO_TARGET_DIR/release/holdfast" serve

.PHONY: demo
demo: build ## Runs a job, kills the service with kill -9 while it works, and shows that nothing was lost.
	@$(ENV) scripts/demo.sh

.PHONY: test
test: ## Runs all tests, with a real Postgres and a real S3 server.
	@scripts/setup.sh test
	@$(ENV) scripts/test.sh

.PHONY: lint
lint: ## Checks formatting, clippy, documentation and the OpenAPI file.
	@scripts/setup.sh build
	@$(ENV) scripts/lint.sh

.PHONY: openapi
openapi: build ## Writes openapi/openapi.json anew.
	@target/holdfast openapi > openapi/openapi.json.new && mv openapi/openapi.json.new openapi/openapi.json

.PHONY: bench
bench: build ## Measures speed, memory and checkpoints, with Apache Flink beside it if it is installed.
	@$(ENV) python3 bench/bench.py
