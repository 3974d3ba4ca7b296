"""What all tests share: our module_utils where Ansible would put them."""

from __future__ import annotations

import os
from pathlib import Path

import ansible.module_utils
import hypothesis
import pytest

from hosts.built_images import built_images, hub_image, notebook_image, proxy_image
from hosts.fixtures import bare_site, engine, make_host, registry

__all__ = [
    "bare_site",
    "built_images",
    "engine",
    "hub_image",
    "make_host",
    "notebook_image",
    "proxy_image",
    "registry",
]

ROOT = Path(__file__).resolve().parent.parent

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

#: Tests of the site on the bare machine, which they share: they run in one process.
ON_BARE_SITE = "bare site"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a file's tests stay in one process, which has their machines, and begin with what others wait for.

    First the bare machine, which takes minutes to become a site and builds the images; then what needs no images.
    """

    def rank(item: pytest.Item) -> int:
        if any(mark.args == (ON_BARE_SITE,) for mark in item.iter_markers("xdist_group")):
            return 0
        return 2 if item.path in need_images else 1

    need_images = {item.path for item in items if "built_images" in getattr(item, "fixturenames", ())}
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    items.sort(key=rank)
