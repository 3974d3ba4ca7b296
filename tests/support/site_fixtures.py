"""Fixtures that make sites for the tests of a file. tests/conftest.py offers them to all tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from .module_site import ModuleSite


class StartSite(Protocol):
    """Makes a site with a hub that runs."""

    def __call__(
        self, name: str, settings: dict[str, Any] | None = None, extra_config: str = "", version: str = "5.5.4"
    ) -> ModuleSite:
        """Make it; its settings and configuration are added to those of :class:`ModuleSite`."""


@pytest.fixture(scope="module")
def make_site(
    hub_image: Callable[[str], str],
    proxy_image: str,
    notebook_image: Callable[[str], str],
    front_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ModuleSite]]:
    """Return a function that prepares a site with a front; it is removed when the tests of the file have ended."""
    # Not before, because tests/conftest.py imports this file, and only then lets the modules find their code.
    from .module_site import ModuleSite

    with contextlib.ExitStack() as sites:

        def make(name: str, version: str = "5.5.4") -> ModuleSite:
            directory = str(tmp_path_factory.mktemp("etc"))
            made = ModuleSite(
                name, hub_image(version), proxy_image, notebook_image(version), front_image, directory
            )  # fmt: skip
            made.destroy()
            sites.callback(made.destroy)
            made.prepare()
            return made

        yield make


@pytest.fixture(scope="module")
def start_site(make_site: Callable[..., ModuleSite]) -> StartSite:
    """Return a function that makes a site and starts its proxy and its hub."""

    def start(
        name: str, settings: dict[str, Any] | None = None, extra_config: str = "", version: str = "5.5.4"
    ) -> ModuleSite:
        made = make_site(name, version)
        made.settings, made.extra_config = settings or {}, extra_config
        made.run_proxy()
        made.run_hub()
        return made

    return start
