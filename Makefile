# Every task of this project is a target here. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
# Where cargo puts its output; cargo reads the same variable.
TARGET := $(or $(CARGO_TARGET_DIR),target)
say = @printf '==> %s\n'

# Every integration test must pass on both I/O drivers.
DRIVERS := io_uring epoll
# Every test binary but `it` runs once; `it` runs on each driver.
TEST_ROOTS := $(wildcard $(addsuffix /*.rs,tests bench/*/tests)) $(patsubst %/main.rs,%,$(wildcard $(addsuffix /*/main.rs,tests bench/*/tests)))
TESTS_ONCE := $(filter-out it,$(basename $(notdir $(TEST_ROOTS))))
# All test targets select the same packages, so that cargo unifies features in the same way and builds each dependency once.
CARGO_TEST = $(CARGO) test --locked --workspace

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)


.PHONY: setup
setup: ## Fetch the crates and the Python and Node packages that building and testing need
	$(say) 'setup: crates'
	@$(CARGO) fetch --locked
	@scripts/sdk-env.sh

.PHONY: web
web: ## Build the console into web/dist, which the binary embeds (needs Node 20.19 or newer)
	@scripts/web.sh build

.PHONY: build
build: web ## Build the release binaries, console included, into bin/
	$(say) 'build: release binaries'
	@$(CARGO) build --release --locked --workspace --bins
	@install -D -t bin $(TARGET)/release/luner $(TARGET)/release/mock-llm
	$(say) 'build: bin/luner, bin/mock-llm'

.PHONY: demo
demo: build ## Build, then run the gateway with a scripted provider and sample traffic
	@./bin/luner demo

.PHONY: schema
schema: ## Write the JSON Schema of the configuration to config/schema.json
	$(say) 'schema: config/schema.json'
	@$(CARGO) run --quiet --locked --bin luner -- schema > config/schema.json.new
	@mv config/schema.json.new config/schema.json

.PHONY: openapi
openapi: ## Write the OpenAPI document of the REST API to config/openapi.json
	$(say) 'openapi: config/openapi.json'
	@$(CARGO) run --quiet --locked --bin luner -- openapi > config/openapi.json.new
	@mv config/openapi.json.new config/openapi.json

.PHONY: test
test: web fmt-check lint test-rust test-sdk test-examples test-web test-monitoring test-deploy test-docs ## Run every check that a change must pass
	$(say) 'test: everything passed'

.PHONY: fmt
fmt: ## Format the Rust code
	@$(CARGO) fmt --all

.PHONY: fmt-check
fmt-check: ## Check the formatting of the Rust code
	$(say) 'fmt-check: rustfmt'
	@$(CARGO) fmt --all --check

.PHONY: lint
lint: ## Run clippy; a warning is an error
	$(say) 'lint: clippy'
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: test-rust
test-rust: ## Run unit tests once and integration tests on io_uring and on epoll
	$(say) 'test-rust: unit tests'
	@$(CARGO_TEST) --lib --bins
	$(say) 'test-rust: $(TESTS_ONCE)'
	@$(CARGO_TEST) $(TESTS_ONCE:%=--test %)
	@for driver in $(DRIVERS); do \
	  printf '==> %s\n' "test-rust: integration tests on $$driver"; \
	  LUNER_IO=$$driver $(CARGO_TEST) --test it; \
	done

.PHONY: test-sdk
test-sdk: ## Run the OpenAI clients for Python and Node, and LangChain, against a running luner
	$(say) 'test-sdk: binaries'
	@$(CARGO) build --locked --workspace --bins
	@scripts/sdk-env.sh
	@for driver in $(DRIVERS); do \
	  printf '==> %s\n' "test-sdk: clients on $$driver"; \
	  LUNER_IO=$$driver tests/sdk/run.sh; \
	done

.PHONY: test-examples
test-examples: ## Run every example against luner demo, and bench/bench.sh if wrk is installed
	$(say) 'test-examples: binaries'
	@$(CARGO) build --locked --workspace --bins
	@scripts/examples-env.sh
	@.venv/bin/python tests/examples/run.py

.PHONY: test-monitoring
test-monitoring: ## Check alert rules, dashboard and /metrics with promtool
	@scripts/promtool.sh

.PHONY: test-docs
test-docs: ## Check the links, tables and code of the documents, and run their commands
	$(say) 'test-docs: binaries'
	@$(CARGO) build --locked --workspace --bins
	@scripts/sdk-env.sh
	@.venv/bin/python -m pytest -c tests/docs/pytest.ini tests/docs

.PHONY: docs
docs: ## Build the manual in docs/ as a book, into book/ (installs mdBook below target/)
	@scripts/book.sh

.PHONY: test-web
test-web: ## Check the console: types, lint, unit tests, and browser tests in Chromium
	@scripts/web.sh test

include deployments/deploy.mk

.PHONY: screenshots
screenshots: ## Take new screenshots of the console for the documents, from `luner demo`, into web/screenshots/
	@scripts/web-screenshots.sh

.PHONY: bench
bench: build ## Benchmark luner next to nginx and a bare event loop; writes bench/results/
	@bench/run.sh

.PHONY: bench-quick
bench-quick: build ## Run a short benchmark, for a first look in two minutes
	@bench/run.sh --quick

.PHONY: audit
audit: ## Check dependencies for advisories, licences and sources (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo 'audit: cargo install --locked cargo-deny' >&2; exit 1; }
	@$(CARGO) deny --locked check

.PHONY: clean
clean: ## Remove everything that was built or installed below this folder
	$(say) 'clean: target, bin, book, .venv, node_modules, web/dist'
	@$(CARGO) clean --quiet
	@rm -rf bin book dist .venv tests/sdk/node/node_modules examples/*/node_modules web/node_modules web/dist
