# The commands of operators and developers. Each target creates the environment that it needs, then prints and runs a
# plain command; ARGS adds to it:  make site ARGS='--check --diff'
#
# You can use Ansible without it: `ansible-playbook site.yml` in any environment with Ansible and the collections of
# requirements.yml does the same.

.DEFAULT_GOAL := help
.PHONY: help site backup verify restore status upgrade check docs test test-all again syntax audit lock clean
.DELETE_ON_ERROR:

ARGS ?=
# `--long` runs the long tests, too (tests/support/long_runs.py).
LONG ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Ansible refuses to start under a locale that is not UTF-8 or, after an SSH login, not generated on this machine.
export LC_ALL := C.UTF-8
# Shows progress at once when the output goes to a file or a pipe, too.
export PYTHONUNBUFFERED := 1
# MkDocs' theme prints a notice about other software otherwise.
export NO_MKDOCS_2_WARNING := 1

CONTROL := .venv/.made-control
TEST := .venv/.made-test
# Three processes for two cores: half of the time is waiting (tests/conftest.py says how the tests are divided).
PYTEST_ON_DOCKER := pytest --numprocesses 3 --no-loadscope-reorder --verbose
# Run in an environment of its own: its packages are not those of the tests.
PIP_AUDIT := 2.10.1
VENV_PARTS := requirements/venv.sh requirements/uv.txt
# `inventory/`, which is copied from the example if it is missing; empty if the operator names another inventory.
INVENTORY := $(if $(ANSIBLE_INVENTORY)$(filter -i% --inventory%,$(ARGS)),,inventory)

# Otherwise `make site --check` would change the host: make takes it for its own option --check-symlink-times. And
# `make restore user=alice` would ignore the user.
ifneq (,$(findstring L,$(filter-out --%,$(firstword -$(MAKEFLAGS)))))
$(error --check is an option of make here; for check mode, run: make $(MAKECMDGOALS) ARGS=--check)
endif
OVERRIDES := $(foreach name,$(.VARIABLES),$(if $(findstring command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out ARGS LONG CONTROL TEST ANSIBLE_% -*-%,$(OVERRIDES))
ifneq (,$(UNKNOWN))
$(error $(firstword $(UNKNOWN)) is ignored here; pass parameters with ARGS, for example: make restore ARGS='-e user=alice')
endif

help: ## show the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# Otherwise Ansible ignores ansible.cfg in a directory that everyone can write to.
site backup verify restore status upgrade: export ANSIBLE_CONFIG ?= $(CURDIR)/ansible.cfg

site: syntax ## install or update the hub on each host of the inventory, by default this machine
	ansible-playbook site.yml$(if $(ARGS), $(ARGS))

backup: syntax ## back up the hub and the changed volumes of its users
	ansible-playbook backup.yml$(if $(ARGS), $(ARGS))

verify: syntax ## read the backups and show which are good
	ansible-playbook playbooks/verify_backups.yml$(if $(ARGS), $(ARGS))

restore: syntax ## list what can be restored; ARGS='-e user=alice' restores
	ansible-playbook restore.yml$(if $(ARGS), $(ARGS))

status: syntax ## show version, hub, proxy, servers and backups; changes nothing
	ansible-playbook status.yml$(if $(ARGS), $(ARGS))

upgrade: syntax ## back up, install this version, show the status
	ansible-playbook upgrade.yml$(if $(ARGS), $(ARGS))

check: $(TEST) ## lint, types and unit tests; no Docker; about seven minutes
	yamllint --strict .
	ruff check .
	ruff format --check .
	mypy
	ANSIBLE_HOST_PATTERN_MISMATCH=ignore ansible-lint --offline
	python tools/language.py
	mkdocs build --strict
	pytest --numprocesses 2 tests/unit $(ARGS)

docs: $(TEST) ## build the documentation as a site in .cache/site
	mkdocs build --strict
	@echo "Open .cache/site/index.html; for the search: python3 -m http.server --directory .cache/site"

test: check ## all but the long tests, on test hosts in Docker; half an hour to an hour
	ansible-playbook tests/prepare.yml
	$(PYTEST_ON_DOCKER) $(LONG) tests/integration tests/e2e $(ARGS)

test-all: LONG := --long
test-all: test ## everything, with all repetitions; one to two hours

again: $(TEST) ## run the files with failed tests again; LONG=--long after test-all
	files=$$(python tests/failed_files.py) && $(PYTEST_ON_DOCKER) $(LONG) $$files $(ARGS)

audit: $(TEST) ## compare the pinned packages of the images with known vulnerabilities; needs the internet
	for file in roles/jupyterhub_images/files/*/requirements*.txt; do \
	  echo "$$file" && uv tool run --from pip-audit==$(PIP_AUDIT) pip-audit --strict --disable-pip --require-hashes \
	    --progress-spinner off --requirement "$$file" $(ARGS) || exit 1; \
	done

lock: $(TEST) ## pin the newest allowed releases: make lock ARGS=--upgrade
	sh requirements/lock.sh $(ARGS)
	sh roles/jupyterhub_images/files/lock.sh $(ARGS)

clean: ## remove the environment, caches and test hosts
	cd tests && python3 -m hosts.hosts clean
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible

# The operator's inventory, which Git ignores.
inventory:
	cp -R examples/inventory inventory

# Ansible does not say where a mistake in the syntax is.
syntax: $(CONTROL) $(INVENTORY)
	@python tools/inventory_syntax.py $(or $(ANSIBLE_INVENTORY),$(INVENTORY)) -- $(ARGS)

$(CONTROL): requirements/control.txt $(VENV_PARTS)
	@sh requirements/venv.sh control

$(TEST): requirements/test.txt requirements/control.txt $(VENV_PARTS)
	@sh requirements/venv.sh test
