# Everything a developer does has a target here; CI runs `make ci` and nothing else.

CARGO ?= cargo
IMAGE ?= profile-gateway
SOAK_SECONDS ?= 120
STORM_SECONDS ?= 60
CRASH_ROUNDS ?= 300
SOAK_OPERATIONS ?= 100000
FUZZ_SECONDS ?= 60
MODEL_CASES ?= 200000
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/node_modules/.bin:$(TOOLS)/bin:$(PATH)
# Most tests wait for another process.
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
ifneq ($(PROCESSORS),)
export RUST_TEST_THREADS ?= $(shell expr 2 '*' $(PROCESSORS))
endif

# Integration tests that take long or wait in real time.
SLOW := alerts:: soak:: matrix:: process:: replicas:: conformance:: seeds:: contract:: documents:: upstream_tls:: upstream_proxy:: upstream_age:: \
	authn::envoy:: shared:: kit::redis:: deploy::

# Unit tests that start a Redis server.
WITH_REDIS := shared::commands:: shared::history:: over_replicas::

.DEFAULT_GOAL := help
.PHONY: help run test test-fast model soak soak-crash soak-replicas mutations figures-replicas torn-files storm fuzz lint fmt bench bench-store docs docs-reference image image-check breaking baseline check-deps ci tools

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve the embedded sandbox
	$(CARGO) run

test: tools ## run every test, and what replicas share with Valkey too
	$(CARGO) test --locked --workspace
	REDIS_SERVER=valkey-server $(CARGO) test --locked --workspace --lib -- $(WITH_REDIS)
	REDIS_SERVER=valkey-server $(CARGO) test --locked --workspace --test it -- replicas::writes

test-fast: ## run unit tests and the quick integration tests; needs nothing but cargo
	$(CARGO) test --locked --workspace --lib -- $(addprefix --skip ,$(WITH_REDIS))
	$(CARGO) test --locked --test it -- $(addprefix --skip ,$(SLOW))

model: ## explore MODEL_CASES orders of events in the protocol between replicas, with each kind of fault
	MODEL_CASES=$(MODEL_CASES) $(CARGO) test --locked --release --lib shared::protocol -- --nocapture

soak: tools ## make random calls under random faults for SOAK_SECONDS, and check every answer
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test it soak:: -- --skip replicas:: --nocapture

soak-crash: ## kill the gateway at CRASH_ROUNDS points of many writes, and check what is left
	CRASH_ROUNDS=$(CRASH_ROUNDS) $(CARGO) test --locked --test it process::crash:: -- --nocapture

soak-replicas: tools ## make SOAK_OPERATIONS calls to three replicas while everything between them breaks, and check them
	SOAK_OPERATIONS=$(SOAK_OPERATIONS) $(CARGO) test --locked --test it replicas::soak:: -- --nocapture

mutations: tools ## take each rule out of the protocol between replicas, and expect the soak to find it
	scripts/mutations

figures-replicas: tools ## measure what it costs to share a store, as ratios of one run
	FIGURES_HITS=5000 FIGURES_PAIRS=100 $(CARGO) test --locked --release --test it replicas::figures:: -- --nocapture

torn-files: ## cut a store at every length, and change a bit of every byte
	TORN_FILES=all $(CARGO) test --locked --lib store::file::tests::torn -- --nocapture

storm: tools ## let one caller do everything hostile for STORM_SECONDS, beside others who must not notice
	STORM_SECONDS=$(STORM_SECONDS) $(CARGO) test --locked --test it process::storm:: -- --nocapture

fuzz: ## run every parser of foreign input under libFuzzer for FUZZ_SECONDS each
	scripts/fuzz $(FUZZ_SECONDS)

lint: tools ## check formatting, clippy, the house rules, the spelling, the contract's style and the manifests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	$(CARGO) check --locked --quiet --manifest-path fuzz/Cargo.toml
	$(CARGO) test --locked --workspace --test it --quiet -- tidy::
	buf lint
	buf format --diff --exit-code
	typos
	shellcheck $(filter-out %.txt %.json %.mjs,$(wildcard scripts/*)) .ci/run
	scripts/manifests $(TOOLS)

fmt: tools ## format code and protos
	$(CARGO) fmt --all
	buf format --write

bench: ## measure requests/s and CPU per request against a bare tonic server, in one run
	$(CARGO) bench --locked --bench gateway
	$(CARGO) bench --locked --bench gateway -- --only calls --at-once 128
	$(CARGO) bench --locked --bench cache

bench-store: ## measure writes with each store, and its size and the time of a start with 1,000,000 ids
	$(CARGO) bench --locked --bench gateway -- --only writes
	$(CARGO) bench --locked --bench gateway -- --only ids

docs: ## build the documents as a book in target/book
	scripts/book $(TOOLS)

docs-reference: ## write the generated parts of docs/ from the code
	UPDATE_DOCS=1 $(CARGO) test --locked --test it -- documents::reference documents::errors documents::tables

image: ## build the container image with the first builder that works
	scripts/image $(IMAGE)

image-check: ## build the image with buildah over a base made here, and run it as a cluster would
	scripts/image-check

breaking: tools ## compare the contract with the released one
	scripts/breaking

baseline: tools ## record the contract as released; part of a release, see CONTRIBUTING.md
	buf build --exclude-source-info --output proto/baseline.binpb

check-deps: ## check licenses, advisories, sources and banned crates
	scripts/deny $(TOOLS)

ci: lint breaking check-deps test ## run everything that has to pass before a change lands

tools: ## install what lint and tests need besides cargo
	@scripts/tools $(TOOLS)
