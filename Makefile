# The front door of Stowage. `make` alone lists what there is; all that is made goes to build/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
venv := build/venv
python := $(venv)/bin/python
collection := build/collections/ansible_collections/stowage/engine
export PATH := $(CURDIR)/$(venv)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections
pytest := $(python) -m pytest -q --durations=5
# Two processes, a file in each: for tiers whose tests see nothing of each other, and machines that also wait.
beside := -n 2 --dist loadfile

.PHONY: help
help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

##### The main job
.PHONY: demo demo-clean
demo: packages-demo $(venv)/.run $(collection) ## run the quickstart on two hosts made of namespaces, told as a story
	$(python) tests/fleet/demo.py

demo-clean: $(venv)/.run $(collection) ## take away all that the demo made
	$(python) tests/fleet/demo.py --clean

##### Checks
.PHONY: test lint unit kernel conformance-native conformance integration two-host fleet bench
test: lint unit kernel conformance-native integration two-host fleet ## all checks, in this order

lint: test-setup ## ruff, mypy, yamllint, changelog, docs, ansible-lint, ansible-test sanity (some: make lint only="ruff mypy")
	tests/lint.sh $(only)

unit: test-setup ## tests that need no root, the rules of the design among them
	$(pytest) $(beside) tests/unit

kernel: test-setup ## tests on the real kernel of this machine (root)
	$(pytest) $(beside) tests/kernel

conformance-native: test-setup ## stowage-runtime against every item of the OCI runtime specification (root)
	$(python) -m tests.conformance

conformance: test-setup ## the same for runc and crun too, and docs/conformance.md written from what comes out (root)
	$(python) -m tests.conformance --write docs/conformance.md

integration: test-setup ## ansible-test integration, a target per module (root)
	tests/integration.sh $(only)

two-host: test-setup ## hosts made of namespaces: the quickstart on two of them, step by step, and images sent to them (root)
	$(pytest) $(beside) tests/fleet/test_fleet.py tests/fleet/test_quickstart.py tests/fleet/test_transfer*.py

fleet: test-setup ## virtual machines with systemd and cgroup v2, and the quickstart on one (root)
	$(pytest) $(beside) tests/fleet/test_vm*.py

bench: test-setup ## benchmarks, each against a peer in the same run (root)
	$(python) -m tests.bench

##### Products
.PHONY: docs engine build clean
docs: test-setup ## check the documentation and render it to build/docs
	tests/docs.sh

engine: $(venv)/.run $(collection) ## build/bin/stowage and build/bin/stowage-runtime, the bytes that a host gets
	PYTHONPATH=build/collections $(python) -m ansible_collections.stowage.engine.plugins.module_utils._ansible.install build/bin

build: $(venv)/.run ## the collection's tarball, build/stowage-engine-<version>.tar.gz
	ansible-galaxy collection build --force --output-path build

clean: ## remove build/, the virtual environment included (demo-clean first, where a demo runs)
	rm -rf --one-file-system build

##### Set-up: what is there already is left alone
.PHONY: packages-demo packages-test test-setup
packages-demo packages-test: packages-%:
	@tests/setup.sh packages $*

test-setup: packages-test $(venv)/.test $(collection)

$(venv)/.run: tests/requirements/run.txt | packages-demo
	@tests/setup.sh venv run
	@touch $@

$(venv)/.test: tests/requirements/test.txt tests/requirements/run.txt | packages-test
	@tests/setup.sh venv test
	@touch $@ $(venv)/.run

$(collection):
	@echo "Linking the collection where Ansible finds it: $@"
	@mkdir -p $(@D)
	@ln -sfn ../../../.. $@
