# Everything a developer does has a target here; CI runs `make ci` and nothing else.

CARGO ?= cargo
IMAGE ?= profile-gateway
SOAK_SECONDS ?= 120
FUZZ_SECONDS ?= 60
TOOLS := $(CURDIR)/target/tools
export PATH := $(TOOLS)/node_modules/.bin:$(PATH)

.PHONY: run test soak fuzz lint fmt bench docs image check-deps ci tools

run: ## serve the embedded sandbox
	$(CARGO) run

test: tools ## run every test
	$(CARGO) test --locked --workspace

soak: tools ## random calls under random faults for SOAK_SECONDS, and whether anybody was lied to
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test it soak:: -- --nocapture

fuzz: ## every parser of foreign text against libFuzzer, each for FUZZ_SECONDS
	scripts/fuzz $(FUZZ_SECONDS)

lint: tools ## formatting, clippy and the contract's style
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	buf lint
	buf format --diff --exit-code

fmt: tools ## format code and protos
	$(CARGO) fmt --all
	buf format --write

bench: ## requests/s and CPU per request against a bare tonic server, in one run
	$(CARGO) bench --locked --bench gateway
	$(CARGO) bench --locked --bench cache

docs: ## build the documents as a book in target/book
	scripts/book $(TOOLS)

image: ## container image, with whichever builder is here
	scripts/image $(IMAGE)

check-deps: ## licences, advisories and banned crates; needs cargo-deny
	$(CARGO) deny check

ci: lint test

tools: ## what lint and tests need besides cargo
	@scripts/tools $(TOOLS)
