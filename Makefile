# Short names for what scripts and cargo do.

.PHONY: help build test bench run experiments drill fmt lint clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

build: ## the programs, into target/release
	cargo build --release --locked

test: ## everything that must hold (scripts/test.sh)
	@scripts/test.sh

bench: ## how fast it is on this machine (scripts/bench.sh)
	@scripts/bench.sh all

run: ## run everything on this machine, until Ctrl-C (scripts/run.sh)
	@scripts/run.sh

experiments: ## experiments with Kafka that check themselves (docs/experiments/)
	@scripts/experiments/run.sh

drill: ## cause each symptom and see which alert fires; 20 to 25 minutes (scripts/drill.sh)
	@scripts/drill.sh

fmt: ## format the code
	cargo fmt

lint: ## run clippy
	cargo clippy --locked --all-targets -- -D warnings

clean: ## remove what was built, and the local broker's data and jars
	cargo clean
	rm -rf .run
