# Everything that a person or CI does with this repository. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help console demo shop test lint deny site upgrade nightly release bench bench-docs clean setup-build setup-shop setup-bench setup-all guests

# The seconds that the fuzz targets run together in `make nightly`, and its part of the mutants (without it, that of today).
FUZZ_SECONDS ?= 3600
MUTANTS ?=

# The time that `make demo` and `make shop` run: with FOR=10s they end by themselves, without it Ctrl-C ends them.
FOR ?=

# As in CI. An incremental build cuts crates into pieces that it optimises one by one: its code is slower, and different after
# each change, and it takes twice the space.
export CARGO_INCREMENTAL ?= 0

# One set of packages and targets for all commands: with another one cargo chooses other features of what they share, and
# compiles it once more.
measured := -p sandbar -p sandbar-bench -p sandbar-bench-boundary --bins --bench boundary

target := $(or $(CARGO_TARGET_DIR),target)
guests := transforms/* tests/guests/*

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

# The test is there for the features of the dependencies: with a test among the targets cargo chooses those of `make test`,
# so that wasmtime is compiled once for both. This test has no dependencies of its own.
demo: setup-build ## a web shop on this machine, without Kafka (FOR=10s: ends after that time)
	@echo "make: building (the first time takes minutes: wasmtime, librdkafka)"
	cargo build --workspace --bin sandbar --bin sandbar-demo --test demo
	@$(target)/debug/sandbar-demo $(if $(FOR),--for $(FOR))

shop: setup-shop ## the whole shop: PostgreSQL, Debezium, Kafka, transforms, JDBC sinks (FOR=60s: ends, and compares)
	@echo "make: building (the first time takes minutes: wasmtime, librdkafka)"
	cargo build --workspace --bin sandbar --bin shop --test demo
	@$(target)/debug/shop $(if $(FOR),--for $(FOR))

# One `cargo test --workspace` decides on features and profile, so that nothing is compiled twice: first without running,
# as the guests are built by the host's binary.
test: setup-all ## all tests, also those on a real Kafka (needs Java and PostgreSQL; it downloads Kafka)
	@echo "make: building the workspace and its tests (the first time takes minutes: wasmtime, librdkafka)"
	cargo test --workspace --no-run
	@$(MAKE) --no-print-directory guests
	@echo "make: running the tests (the end-to-end tests take minutes: they kill and restart hosts)"
	@tools/test.sh

# The built files are committed, so that nothing but this target needs Node.
console: ## renews the built files of the console (host/console/dist) after a change of its sources
	@tools/setup.sh console
	cd host/console && node build.mjs

guests:
	@mkdir -p $(target)/guests
	@for manifest in $(guests:%=%/Cargo.toml); do \
		[[ -f $$manifest ]] || continue; \
		echo "make: building the guest $${manifest%/Cargo.toml}"; \
		CARGO_TARGET_DIR=$(target)/guests $(target)/debug/sandbar build --manifest-path $$manifest --out $(target)/guests; \
	done

lint: ## formatting, clippy, scripts, deploy/
	cargo fmt --all --check
	@echo "make: clippy (the first time takes minutes)"
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	@# Not a target of `cargo test`, so none of "all".
	cargo clippy --workspace --test upgrade --quiet -- -D warnings
	@if command -v shellcheck >/dev/null; then echo shellcheck; shellcheck tools/*.sh tools/release/*.sh tools/release/debian/p* deploy/*.sh deploy/helm/*.sh .ci/run; \
	else echo "make: shellcheck is not installed: skipped"; fi
	deploy/check.sh

deny: ## licences, sources, bans and known holes of every dependency
	tools/deny.sh

site: ## the pages as a site that works offline, with its links checked: target/site (mdBook)
	@tools/setup.sh site
	@tools/site.py "$${SANDBAR_CACHE:-.sandbar}/tools/bin/mdbook" $(target)

upgrade: ## hosts of 0.1 and of this checkout in one cluster, replaced one by one under load (builds 0.1 first)
	@tools/setup.sh build kafka
	@tools/upgrade.sh

# Tests that are too long for every change. The hostile corpus runs once more on the optimised host: sums that wrap, and
# stacks and times of another size, show there alone. `cargo test` makes the tests as `make test` has them.
nightly: setup-all ## optimised hosts under the hostile corpus, the victim's throughput, all alerts, upgrades, fuzzing (FUZZ_SECONDS=3600), the Helm chart, other Kafkas, mutants
	@echo "make: building optimised (the first time takes minutes)"
	@# A revision of its own makes it another build than that of the tests: an alert tells of hosts that differ in it.
	SANDBAR_REVISION=nightly cargo build --release $(measured)
	cargo test --workspace --no-run
	@$(MAKE) --no-print-directory guests
	@echo "make: the hostile corpus against the optimised host"
	SANDBAR_BIN=$(abspath $(target))/release/sandbar cargo test --workspace --no-fail-fast --test e2e -- --nocapture hostile
	@echo "make: the victim beside the corpus"
	$(target)/release/sandbar-bench victim
	@echo "make: all alerts, until the windows of their expressions have passed (20 minutes)"
	SANDBAR_ALERTS=all SANDBAR_OTHER_BIN=$(abspath $(target))/release/sandbar \
		cargo test --workspace --test e2e -- --nocapture alerts_fire
	@echo "make: the shop with its real parts"
	@$(MAKE) --no-print-directory shop FOR=60s
	@echo "make: upgrades from 0.1"
	@tools/upgrade.sh
	@echo "make: fuzzing for $(FUZZ_SECONDS) s"
	SANDBAR_FUZZ_SECONDS=$(FUZZ_SECONDS) cargo test --workspace --test targets
	@$(MAKE) --no-print-directory deny
	@echo "make: the Helm chart"
	@tools/setup.sh helm
	deploy/check.sh
	@echo "make: the site of the pages"
	@$(MAKE) --no-print-directory site
	@echo "make: the core of the tests on other versions of Kafka"
	tools/matrix.sh
	tools/mutants.sh $(MUTANTS)

release: ## binary, Debian package, image, bill of materials, licences, crates: to target/dist (docs/releasing.md)
	@tools/release.sh

bench: setup-bench ## Sandbar beside its rivals, with all targets at the end (QUICK=1: short; RECORDS=2000000, ROUNDS=3)
	@echo "make: building optimised (the first time takes minutes)"
	cargo build --release $(measured)
	$(target)/release/sandbar-bench all
	@echo "make: the boundary alone"
	cargo bench -p sandbar -p sandbar-bench -p sandbar-bench-boundary --bench boundary $(if $(QUICK),-- --quick '/100$$')

bench-docs: ## copies the tables and plots of the last `make bench` to docs/benchmarks/figures
	mkdir -p docs/benchmarks/figures
	cp $(target)/bench/results/* docs/benchmarks/figures/

clean: ## removes all builds and downloads
	cargo clean
	rm -rf .sandbar

setup-build:
	@tools/setup.sh build

setup-shop:
	@tools/setup.sh build shop

setup-bench:
	@tools/setup.sh build kafka streams

setup-all:
	@tools/setup.sh
