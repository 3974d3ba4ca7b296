"""What all tests share: our module_utils where Ansible would put them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ansible.module_utils
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from hosts import run
from hosts.built_images import built_images, front_image, hub_image, notebook_image, proxy_image
from hosts.fixtures import bare_site, local_docker, make_host, registry
from support.long_runs import pytest_addoption, pytest_configure, pytest_runtest_setup, times
from support.site_fixtures import make_site, start_site

__all__ = [
    "bare_site",
    "built_images",
    "front_image",
    "hub_image",
    "local_docker",
    "make_host",
    "make_site",
    "notebook_image",
    "proxy_image",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_setup",
    "registry",
    "start_site",
    "times",
]

ROOT = Path(__file__).resolve().parent.parent

run.begin()

# On a target, Ansible merges module_utils/ of a project into ansible.module_utils; so does this.
_ours = str(ROOT / "module_utils")
if _ours not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_ours)

# How long one example takes says more about what else the machine does than about our code.
hypothesis.settings.register_profile(
    "ours",
    deadline=None,
    max_examples=60,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("ours")

#: Tests of the site on the bare machine, which they share.
ON_BARE_SITE = ("integration/site/test_make_site.py", "integration/site/test_molecule.py", "e2e/test_journey.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the bare machine, which takes minutes to become a site and builds the images; then what needs none."""

    def rank(item: pytest.Item) -> int:
        if str(item.path).endswith(ON_BARE_SITE):
            return 0
        return 2 if item.path in need_images else 1

    need_images = {item.path for item in items if "built_images" in getattr(item, "fixturenames", ())}
    items.sort(key=rank)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Runs a file's tests in one process, which has their machines, and those of the bare site in one, too.

    xdist's own ``loadgroup`` does the same by marks, but not with pytest 9.2 (pytest-xdist 3.8.0).
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "bare site" if path.endswith(ON_BARE_SITE) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Divide the tests between processes."""
    return ByFile(config, log)
