# The verbs of this repository. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test bench chaos contract fuzz lint setup up dev down
CARGO := cargo
export CARGO_TERM_COLOR ?= auto

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole path on this machine with a page to watch it; ONCE=1 sends each event once and exits
	@tests/setup.sh demo
	$(CARGO) build --locked --package demo --package ingest-worker --package ws-gateway --bins
	@ONCE=$(ONCE) $${CARGO_TARGET_DIR:-target}/debug/demo

# All targets are built at once, so that the scenarios start what the tests were built with.
test: lint ## everything that must pass: lint, unit tests, scenarios on real servers; ONLY=name for some
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast --lib --bins $(ONLY)
	$(CARGO) test --locked --workspace --no-fail-fast --test '*' $(ONLY)

bench: ## every benchmark figure in tests/README.md, half an hour; ONLY=name for some, QUICK=1 to try
	@tests/setup.sh bench
	$(CARGO) build --locked --release --package bench --package load --package ingest-worker --package ws-gateway --bins
	@ONLY=$(ONLY) QUICK=$(QUICK) $${CARGO_TARGET_DIR:-target}/release/bench

# Three at once, as each is meant to have a processor for itself most of the time.
chaos: setup ## the scenarios on faults in their long form, half an hour; SEED=n repeats a run
	$(CARGO) build --locked --workspace --all-targets
	CHAOS=1 $(CARGO) test --locked --package scenarios --test scenarios -- faults:: --test-threads 3

contract: ## writes the JSON Schemas, the AsyncAPI document and the TypeScript types of what browsers see
	$(CARGO) run --locked --quiet --package contract

fuzz: setup ## each fuzz target for five minutes (SECONDS_EACH, TARGET); keeps what it learns
	@tests/fuzz.sh

lint: setup ## formatting, clippy, licences and sources of dependencies, workflows; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@tests/deny.sh
	@if [ -x target/tools/bin/actionlint ]; then target/tools/bin/actionlint; fi

setup: ## install what is missing to build and test (apt-get or Homebrew)
	@tests/setup.sh test

up: ## start everything in containers, with TLS, Prometheus and Grafana; needs JWT_SECRET_KEY and Docker
	@: "$${JWT_SECRET_KEY:?set it to at least 32 random bytes}"
	docker compose --profile full up --build --detach --wait

dev: ## start Kafka and Redis alone in containers, to run the services by hand
	docker compose --profile dev up --detach --wait

down: ## stop the containers of `up` and `dev`; volumes are kept
	docker compose --profile full --profile dev down
