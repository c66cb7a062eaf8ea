# Everything runs from .venv, which `make env` creates from the locked requirements.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

bin := .venv/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check
locks := packaging/requirements
# What takes longest begins first.
suites := $(wildcard tests/chaos tests/contract tests/e2e tests/escape)

.PHONY: help
help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20

.PHONY: env
env: .venv/.runtime ## create .venv with .venv/bin/edge-agent
	@:

.PHONY: dev
dev: .venv/.dev ## add the development tools to .venv
	@:

.PHONY: demo
demo: env ## run the demonstration on this machine
	@packaging/install-apptainer.sh
	$(bin)/edge-agent demo --dir .demo

.PHONY: lab
lab: env ## bring up the offline lab on this machine and run a job through it
	@packaging/install-apptainer.sh
	programs=$$(packaging/install-lab.sh)
	deploy/lab/try.sh .lab "$$programs"

.PHONY: lab-down
lab-down: ## stop the servers of the lab; jobs and results stay in .lab
	@$(bin)/edge-agent lab down --dir .lab

.PHONY: check
check: dev ## lint, types, import rules and unit tests: seconds
	@$(bin)/ruff check --quiet .
	$(bin)/ruff format --quiet --check .
	$(bin)/mypy --no-error-summary
	$(bin)/lint-imports >.venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }
	$(bin)/pytest -q -n auto tests/unit

.PHONY: test
test: dev ## check, then the tests against real servers and real containers
	@packaging/install-apptainer.sh
	packaging/install-test-tools.sh
	$(MAKE) check
	$(if $(suites),$(bin)/pytest -q -n 4 $(suites))

.PHONY: chaos
chaos: dev ## many jobs while everything goes wrong: SEED=n JOBS=n QUEUE=dir|s3|pubsub, MINUTES=n
	@packaging/install-apptainer.sh
	packaging/install-test-tools.sh
	$(bin)/python -m tests.chaos --seed $(or $(SEED),1) --jobs $(or $(JOBS),1000) --queue $(or $(QUEUE),pubsub) \
	    $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: test-system
test-system: dev ## tests of packages, and in guests with kernels of their own
	@packaging/install-system-tools.sh >/dev/null
	$(bin)/pytest -q tests/system

.PHONY: packages
packages: ## build .deb and .rpm for amd64 and arm64 into dist/; the first time takes long
	@packaging/build.sh

.PHONY: lock
lock: ## write packaging/requirements*.txt anew
	@tools=$$(mktemp -d)
	trap 'rm -rf -- "$$tools"' EXIT
	python=$$(packaging/find-python.sh)
	"$$python" -m venv "$$tools"
	"$$tools/bin/python" -m pip --quiet --disable-pip-version-check install uv
	lock() {
	    "$$tools/bin/uv" pip compile --quiet --universal --fork-strategy fewest --python-version 3.10 \
	        --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $(LOCK_FLAGS) "$$@"
	}
	echo "locking the development tools, the runtime and the build backend"
	lock pyproject.toml --extra dev -o $(locks)-dev.txt
	lock pyproject.toml -c $(locks)-dev.txt -o $(locks).txt
	lock --group pyproject.toml:build -c $(locks)-dev.txt -o $(locks)-build.txt
	$(MAKE) lock-ansible uv="$$tools/bin/uv"

.PHONY: lock-ansible
lock-ansible:
	@"$(uv)" pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command "make lock" $(locks)-ansible.in -o $(locks)-ansible.txt

.PHONY: clean
clean: ## remove .venv, caches and what was built
	@rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find agent tests -name __pycache__ -prune -exec rm -rf {} +

.venv/.runtime: $(locks).txt $(locks)-build.txt pyproject.toml
	@if ! $(bin)/python -c 'import pip' 2>/dev/null; then
	    python=$$(packaging/find-python.sh)
	    echo "creating .venv with $$("$$python" --version)"
	    "$$python" -m venv --clear .venv
	fi
	echo "installing edge-agent and its requirements into .venv"
	$(pip) install --require-hashes -r $(locks).txt -r $(locks)-build.txt
	$(pip) install --no-deps --no-index --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.runtime $(locks)-dev.txt
	@echo "installing the development tools into .venv"
	$(pip) install --require-hashes -r $(locks)-dev.txt
	touch $@
