# The front door. `make` alone lists what there is.
SHELL := /bin/bash
DENO = deno=$$(.ci/deno) && "$$deno"
DIR ?= .
SECONDS ?= 60
SEED ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the main job on the embedded broker: a census of a directory (DIR=... for a directory other than this one)
	@$(DENO) run -A --quiet examples/census/run.ts "$(DIR)"

unit: ## house rules, unit tests and simulation: no servers, no root, under a minute
	@$(DENO) run -A --quiet .ci/test.ts --unit

test: ## installs what the tests need, then every check and test; T=tests/unit/wire: only those tests
	@.ci/setup && $(DENO) run -A --quiet .ci/test.ts $(T)

sim: ## the simulation of workers on a faulty network; SEED=17: that seed, with its trace
	@$(DENO) test -A $(if $(SEED),,--quiet) --no-check tests/sim

fuzz: ## odd input for every reader, for SECONDS=60, from SEED=1
	@$(DENO) run -A --quiet tests/fuzz/run.ts --seconds $(SECONDS) --seed $(or $(SEED),1)

dist: ## dist/lovage, one file, and a smoke test of it
	@.ci/setup && $(DENO) run -A --quiet .ci/dist.ts

npm: ## dist/npm: tarballs of the client for Node, and of the program for each platform
	@.ci/setup && $(DENO) run -A --quiet .ci/npm.ts

release: ## dist/release: archives, install.sh, list of parts, SHA256SUMS; LOVAGE_BASE_URL: where they will be
	@.ci/setup && $(DENO) run -A --quiet .ci/release.ts

deb: ## dist/deb: the Debian package
	@.ci/setup && $(DENO) run -A --quiet .ci/deb.ts

man: ## dist/man: a manual page of each command
	@$(DENO) run -A --quiet .ci/man.ts

docs: ## dist/docs: the documentation as a site, with npm's VitePress
	@$(DENO) run -A --quiet .ci/docs.ts

reference: ## docs/reference, from the tables of options, settings, metrics and the library's declarations
	@$(DENO) run -A --quiet .ci/reference/mod.ts

bench: ## Lovage compared with its peers on one Redis: rates and ratios
	@.ci/setup && $(DENO) run -A --quiet bench/run.ts

bench-compare: ## what Lovage costs compared with bench/baseline.json, as ratios; fails above 110 % on the same machine
	@.ci/setup && $(DENO) run -A --quiet bench/compare.ts

bench-baseline: ## writes a new bench/baseline.json, on this machine
	@.ci/setup && $(DENO) run -A --quiet bench/compare.ts --write

pictures: ## the pictures of docs/console.md; SECONDS=240
	@.ci/setup && $(DENO) run -A --quiet .ci/pictures.ts

fmt: ## formats the source
	@$(DENO) fmt --quiet

lint: ## lints the source
	@$(DENO) lint --quiet

check: ## checks the types
	@$(DENO) check --quiet main.ts lib tests examples bench .ci

ok: ## everything before a commit: what CI runs
	@.ci/run

export SEED
.PHONY: help run unit test sim fuzz dist deb npm docs reference release man bench bench-compare bench-baseline pictures fmt lint check ok
.DEFAULT_GOAL := help
