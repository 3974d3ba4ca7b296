"""Filter that decides whether a version of this project may run against a host. Pure Python, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

VERSION = re.compile(r"\d+\.\d+\.\d+")
BREAKING = "Breaking changes"


def breaking_changes(changelog: str) -> dict[str, list[str]]:
    """Return the breaking changes of each version, in the order of the changelog.

    :param changelog: the text of CHANGELOG.md: a heading ``## 0.2.0`` for each version, and below it a list under
        ``### Breaking changes`` when it has any, in parts with headings ``#### Settings`` when it is long.
    """
    found: dict[str, list[str]] = {}
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        version = VERSION.match(section)
        part = re.search(rf"^### {BREAKING}\n(.*?)(?=^#{{1,3}} |\Z)", section, flags=re.MULTILINE | re.DOTALL)
        if version and part:
            items = re.split(r"^- ", re.sub(r"^#.*\n", "", part[1], flags=re.MULTILINE), flags=re.MULTILINE)[1:]
            found[version[0]] = [plain(" ".join(item.split())) for item in items]
    return found


def plain(text: str) -> str:
    """Return Markdown as plain text: links with their address in parentheses, and no marks of code."""
    return re.sub(r"\[([^]]+)]\(([^)]+)\)", r"\1 (\2)", text).replace("`", "")


def version_problems(host: Mapping[str, Any], version: str, changelog: str, acknowledge: str = "") -> list[str]:
    """Return a sentence for each reason why a run must not go on, empty when it may.

    :param host: what the module ``jupyterhub_host_info`` returned.
    :param version: the version of the checkout.
    :param changelog: the text of its CHANGELOG.md.
    :param acknowledge: the version that the operator acknowledges in this run.
    """
    recorded, acknowledged = host["deployment"]["version"], host["deployment"]["acknowledged"]
    if version in (acknowledge, acknowledged) or not (recorded or host["hub_exists"]):
        return []
    again = f"run the same again with `-e acknowledge={version}` (make upgrade ARGS='-e acknowledge={version}')"
    if recorded and _numbers(recorded) > _numbers(version):
        return [
            f"the hub was provisioned by version {recorded} of this deployment, and this checkout is the older version "
            f"{version}; update the checkout with `git pull`. To go back to {version}, {again}"
        ]
    since = _numbers(recorded or "0")
    changes = [
        f"{of_version}: {change}"
        for of_version, of_this in breaking_changes(changelog).items()
        if since < _numbers(of_version) <= _numbers(version)
        for change in of_this
    ]
    if not changes:
        return []
    by = f"version {recorded}" if recorded else "an earlier version"
    return [
        f"the hub was provisioned by {by} of this deployment, and version {version} has breaking changes. Read the "
        f"list below, change what it asks for, then {again}",
        *changes,
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


class FilterModule:
    """What Ansible looks for in a filter plugin."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """Return the filter by the name that playbooks use."""
        return {"jupyterhub_version_problems": version_problems}
