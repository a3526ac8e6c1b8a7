# The commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test simulate bench chaos contract frameworks fuzz lint setup up dev down
.PHONY: images compose-check cluster-check
CARGO := cargo
export CARGO_TERM_COLOR ?= auto

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## run the whole pipeline with a demo page; ONCE=1 sends each event once and exits
	@tests/setup.sh demo
	$(CARGO) build --locked --package demo --package ingest-worker --package ws-gateway --bins
	@ONCE=$(ONCE) $${CARGO_TARGET_DIR:-target}/debug/demo

# One build of all targets, so that the scenarios start the binaries of this source.
test: lint ## lint, unit tests, and scenarios against real servers; ONLY=name filters
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast $(ONLY)

simulate: ## run seeds of the simulation until one fails; FROM=n, COUNT=n; SEED=n replays one
	@tests/setup.sh demo
	$(CARGO) build --locked --package simulation
	@$${CARGO_TARGET_DIR:-target}/debug/simulate \
		$(if $(FROM),--from $(FROM)) $(if $(COUNT),--count $(COUNT)) \
		$(if $(SEED),--seed $(SEED)) $(if $(WITHOUT),--without $(WITHOUT)) $(if $(RECORDS),--records $(RECORDS))

bench: ## measure the figures of tests/README.md, half an hour; ONLY=name,name; QUICK=1
	@tests/setup.sh bench
	$(CARGO) build --locked --release --bins \
		--package bench --package load --package ingest-worker --package ws-gateway
	@ONLY=$(ONLY) QUICK=$(QUICK) $${CARGO_TARGET_DIR:-target}/release/bench

# The scenarios that have a long form, three at a time: most need a processor of their own.
LONG_SCENARIOS := faults:: demo_page::networks demo_page::reconnect read_state::every_device
chaos: setup ## run the fault scenarios in their long form, 20 minutes; SEED=n repeats a run
	@tests/earlier.sh
	$(CARGO) build --locked --workspace --bins --test scenarios
	@for name in $(LONG_SCENARIOS); do \
		CHAOS=1 $(CARGO) test --locked --workspace --test scenarios -- $$name --test-threads 3 \
			|| exit 1; done

contract: ## generate schemas, client types, settings tables and topics from the Rust types
	$(CARGO) run --locked --quiet --package contract

frameworks: ## check the client in new Next.js, SvelteKit and Nuxt projects; ONLY="next nuxt"
	@node ws-gateway/client/frameworks/run.mjs $(ONLY)

fuzz: setup ## run each fuzz target for five minutes (SECONDS_EACH, TARGET); extends the corpus
	@tests/fuzz.sh

lint: setup ## check format, clippy, rustdoc, dependencies and workflows; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
		$(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet
	@tests/deny.sh
	@if [ -x target/tools/bin/actionlint ]; then target/tools/bin/actionlint; \
	else echo "lint: workflows are not checked: actionlint needs Go 1.25" >&2; [ -z "$${CI-}" ]; fi

setup: ## install missing build and test tools (apt-get or Homebrew)
	@tests/setup.sh test

# The commit for the images, with `-dirty` if files differ from it; `unknown` without Git.
DESCRIBE := git describe --always --dirty --abbrev=40 --exclude '*'
REVISION = $(or $(shell $(DESCRIBE) 2>/dev/null),unknown)

up: ## start everything in containers, with TLS and Grafana; needs JWT_SECRET_KEY and Docker
	@: "$${JWT_SECRET_KEY:?set it to at least 32 random bytes}"
	REVISION=$(REVISION) docker compose --profile full up --build --detach --wait

dev: ## start Kafka and Redis alone in containers, to run the services by hand
	docker compose --profile dev up --detach --wait

down: ## stop the containers of `up` and `dev`; volumes are kept
	docker compose --profile full --profile dev down

IMAGES := ingest-worker ws-gateway load
images: ## build the images of both services and of the load tester; BUILD_FLAGS="--network host"
	@for image in $(IMAGES); do docker build --file k8s/Dockerfile --target $$image \
		--build-arg REVISION=$(REVISION) --tag huleedu/$$image:dev $(BUILD_FLAGS) . || exit 1; done

compose-check: ## start docker-compose.yml and break its services while events are sent, 10 minutes
	@tests/containers/compose-check.sh

cluster-check: ## apply the dev overlay to kubectl's cluster; roll, scale, drain, kill; 15 minutes
	@tests/containers/cluster-check.sh
