"""What all tests share: our module_utils where Ansible would put them."""

from __future__ import annotations

import os
from pathlib import Path

import ansible.module_utils
import hypothesis

from hosts.built_images import built_images, hub_image, notebook_image, proxy_image
from hosts.fixtures import _early_start, bare_site, bare_site_ahead, engine, make_host, registry

__all__ = [
    "_early_start",
    "bare_site",
    "bare_site_ahead",
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
