# The commands of an operator and of a developer. Each target makes the environment that it needs, then prints and runs
# a plain command; ARGS adds to it:  make site ARGS='--check --diff'
#
# Nothing here is needed to use Ansible your own way: `ansible-playbook site.yml -i …` from any environment that has
# Ansible and the collections of requirements.yml does the same.

.DEFAULT_GOAL := help
.PHONY: help site backup verify restore status upgrade check docs test again lock clean
.DELETE_ON_ERROR:

ARGS ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Ansible refuses to start under a locale that is not UTF-8 or, after an SSH login, not generated on this machine.
export LC_ALL := C.UTF-8
# Progress shows at once also when the output goes to a file or through a pipe.
export PYTHONUNBUFFERED := 1
# MkDocs' theme prints a notice about other software otherwise.
export NO_MKDOCS_2_WARNING := 1

CONTROL := .venv/.made-control
TEST := .venv/.made-test
# Two processes: half of the time is waiting (tests/conftest.py says how the tests are divided).
PYTEST_ON_DOCKER := pytest --numprocesses 2 --no-loadscope-reorder --verbose
VENV_PARTS := requirements/venv.sh requirements/uv.txt

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

site: $(CONTROL) inventory ## turn the hosts of the inventory (at first: this machine) into JupyterHubs
	ansible-playbook site.yml$(if $(ARGS), $(ARGS))

backup: $(CONTROL) inventory ## back up the hub and its users' volumes on the host, as far as they have changed
	ansible-playbook backup.yml$(if $(ARGS), $(ARGS))

verify: $(CONTROL) inventory ## read the backups again and say which are good
	ansible-playbook playbooks/verify_backups.yml$(if $(ARGS), $(ARGS))

restore: $(CONTROL) inventory ## list what can be restored; ARGS='-e user=alice' restores
	ansible-playbook restore.yml$(if $(ARGS), $(ARGS))

status: $(CONTROL) inventory ## show each hub, its proxy and its servers with their images; changes nothing
	ansible-playbook status.yml$(if $(ARGS), $(ARGS))

upgrade: $(CONTROL) inventory ## backup, site and status, in that order: for a new version or image
	ansible-playbook upgrade.yml$(if $(ARGS), $(ARGS))

check: $(TEST) ## lint, types and unit tests; no Docker; under two minutes
	yamllint --strict .
	ruff check .
	ruff format --check .
	mypy
	ansible-lint --offline
	mkdocs build --strict
	pytest tests/unit $(ARGS)

docs: $(TEST) ## build the documentation as a site in .cache/site
	mkdocs build --strict
	@echo "Open .cache/site/index.html; for the search: python3 -m http.server --directory .cache/site"

test: check ## everything, on test hosts of its own in Docker; about half an hour
	ansible-playbook tests/engine.yml
	$(PYTEST_ON_DOCKER) tests/integration tests/e2e $(ARGS)

again: $(TEST) ## run those files again of which tests failed
	files=$$(python tests/failed_files.py) && $(PYTEST_ON_DOCKER) $$files $(ARGS)

lock: $(TEST) ## pin the newest allowed releases: make lock ARGS=--upgrade
	sh requirements/lock.sh $(ARGS)
	sh roles/jupyterhub_images/files/lock.sh $(ARGS)

clean: ## remove the environment and what the tests cached (test hosts too)
	cd tests && python3 -m hosts.hosts clean
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible

# Only when there is none: then it is the operator's, and git ignores it.
inventory:
	cp -R examples/inventory inventory

$(CONTROL): requirements/control.txt $(VENV_PARTS)
	@sh requirements/venv.sh control

$(TEST): requirements/test.txt requirements/control.txt $(VENV_PARTS)
	@sh requirements/venv.sh test
