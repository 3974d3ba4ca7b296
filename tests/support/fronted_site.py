"""A hub and its proxy behind a front of the test's own, by their modules only. The front serves plain HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jupyterhub_front
from support.module_site import ModuleSite
from support.modules import run


class FrontedSite(ModuleSite):
    """One hub behind the front.

    Args:
        name, hub, proxy, notebook, config_dir: as those of ``ModuleSite``.
        front: name of the front's image.

    Attributes:
        original: the image of the first proxy.
    """

    def __init__(self, name: str, hub: str, proxy: str, notebook: str, front: str, config_dir: str) -> None:
        super().__init__(name, hub, proxy, notebook, config_dir)
        self.original = proxy
        self.front_image, self.directory = front, Path("/etc", f"{name}-front")

    def run_front(self, **options: Any) -> dict[str, Any]:
        """Run the front's module; return its result."""
        return run(jupyterhub_front, **{**self.front_arguments(), **options})

    def front_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_front``."""
        return {
            "name": f"{self.name}-front", "directory": str(self.directory), "image": self.front_image,
            "hub": self.name, "https": "behind", "domain": "127.0.0.1", "bind_address": "127.0.0.1",
            "http_port": self.port, "https_port": 1, "trusted_proxies": ["192.0.2.1"], "health_timeout": 60,
        }  # fmt: skip

    def proxy_arguments(self) -> dict[str, Any]:
        """Return what the role passes to the module ``jupyterhub_proxy``."""
        return {
            **super().proxy_arguments(),
            "front": f"{self.name}-front",
            "front_directory": str(self.directory),
            "behind_front": True,
            "health_timeout": 60,
        }

    def destroy(self) -> None:
        """Remove it, the front included."""
        super().destroy()
        shutil.rmtree(self.directory, ignore_errors=True)
