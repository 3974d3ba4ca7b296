"""Pytest plugin for what takes long: tests marked ``long``, and the numbers of repetitions of the others.

``make test`` leaves both out, ``make test-all`` passes ``--long``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

#: The releases of JupyterHub that are tested; the next one, which is not the default yet, only in long runs.
VERSIONS = ["5.5.4", pytest.param("6.1.1", marks=pytest.mark.long)]

#: Chooses a number of repetitions: the first in ``make test``, the second with ``--long``.
Times = Callable[[int, int], int]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--long``."""
    parser.addoption("--long", action="store_true", help="run the tests marked long, and all repetitions of the others")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "long: takes minutes; skipped without --long")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a long test before its fixtures are set up."""
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("takes minutes; run it with --long, or everything with make test-all")


@pytest.fixture(scope="session")
def times(pytestconfig: pytest.Config) -> Times:
    """Return the function that chooses a number of repetitions."""
    long = pytestconfig.getoption("--long")
    return lambda short, full: full if long else short
