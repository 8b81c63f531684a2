# The front door. `make` alone lists what there is.
SHELL := /bin/bash
DENO = deno=$$(.ci/deno) && "$$deno"
DIR ?= .

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the main job on the embedded broker: a census of a directory (DIR=... for another than this one)
	@$(DENO) run -A --quiet examples/census/run.ts "$(DIR)"

test: ## installs what the tests need, then format, lint, types, house rules and every test
	@.ci/setup && $(DENO) run -A --quiet .ci/test.ts

dist: ## dist/lovage, one file, and a smoke test of it
	@.ci/setup && $(DENO) run -A --quiet .ci/dist.ts

bench: ## Lovage beside its peers on one Redis: rates and ratios
	@.ci/setup && $(DENO) run -A --quiet bench/run.ts

fmt: ## formats the source
	@$(DENO) fmt --quiet

lint: ## lints the source
	@$(DENO) lint --quiet

check: ## checks the types
	@$(DENO) check --quiet main.ts lib tests examples bench .ci

ok: test dist ## everything before a commit

.PHONY: help run test dist bench fmt lint check ok
.DEFAULT_GOAL := help
