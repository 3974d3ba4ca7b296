"""Updates of the distribution for the packages in images that were built on this host.

A file has the packages of each image, and the updates that apt knew when its lists were last read: a run with nothing
to do reads only this file. ::

    {"refreshed": 1795000000.0, "problem": "", "lists": 1795000000000000000,
     "images": {"sha256:…": {"packages": {"openssl": "3.0.17-1"}, "updates": {"openssl": "3.0.18-1"}, "missing": {}}}}

``problem`` says why apt's lists could not be refreshed. ``missing`` are updates that a build of that image did not get,
because its mirror did not have them yet.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker.client import run_to_end
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_PURPOSE
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import apt_sources
from ansible.module_utils.jupyterhub_deploy.text import counted

LISTS = "/var/lib/apt/lists"
PURPOSE = "packages"  # of the containers that read packages

# apt's package lists are refreshed once a day, as Debian's own timer does (seconds). A nightly run may begin a little
# earlier than the one before.
REFRESH_INTERVAL = 20 * 3600
# Seconds for `apt-get update`: a host without internet must not wait longer.
REFRESH_TIMEOUT = 120
# Seconds for `dpkg-query` in a container.
QUERY_TIMEOUT = 60

SHOWN_PACKAGES = 3

State = dict[str, Any]


def load(path: str) -> State:
    """Return the stored state; empty when the file is missing or damaged."""
    try:
        found = json.loads(files.read_text(path) or "null")
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) and isinstance(found.get("images"), dict) else {"images": {}}


def parse_packages(output: str) -> dict[str, str]:
    """Return versions by package from lines of ``dpkg-query``."""
    return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)


def parse_madison(output: str, sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the versions that the distribution has, by package.

    :param output: of ``apt-cache madison``.
    :param sources: address and suite of the sources that count, see :func:`apt_sources.archives`.
    """
    counted = {(uri.rstrip("/"), f"{suite}/main") for uri, suite in sources}
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        package, version, source = ([*(part.strip() for part in line.split("|")), "", ""])[:3]
        if tuple(source.split()[:2]) in counted:
            found.setdefault(package, []).append(version)
    return found


def newer(
    packages: Mapping[str, str], available: Mapping[str, list[str]], is_newer: Callable[[str, str], bool]
) -> dict[str, str]:
    """Return the packages with a newer version, and that version.

    :param is_newer: whether its first version is newer than the second.
    """
    found: dict[str, str] = {}
    for package, installed in packages.items():
        for version in available.get(package, []):
            if version != installed and is_newer(version, found.get(package, installed)):
                found[package] = version
    return found


def pending(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the updates that a new build of an image would get."""
    return {name: version for name, version in entry["updates"].items() if entry["missing"].get(name) != version}


def describe(packages: Iterable[str]) -> str:
    """Return ``openssl, tini, zlib1g and 2 more packages``."""
    names = sorted(packages)
    more = names[SHOWN_PACKAGES:]
    return ", ".join(names[:SHOWN_PACKAGES]) + (
        f" and {counted(len(more), 'more package', 'more packages')}" if more else ""
    )


def reason(state: State, created: Mapping[str, float], max_age_days: int) -> str:
    """Return why images have to be built again, empty when they do not.

    :param created: when they were built (seconds since 1970), by id.
    :param max_age_days: 0 means no limit.
    """
    found = {name for one in created if one in state["images"] for name in pending(state["images"][one])}
    if found:
        return f"the distribution has updates for {describe(found)}"
    if max_age_days and any(time.time() - at > max_age_days * 24 * 3600 for at in created.values()):
        return f"an image was built more than {max_age_days} days ago"
    return ""


class Updates:
    """The state in a file, and apt on this host.

    :param path: of the file.
    :param suite: code name of the distribution's release.
    :param refresh: whether to refresh apt's package lists once a day and to store what is found; otherwise nothing on
        the host is changed.
    """

    def __init__(self, path: str, suite: str, refresh: bool) -> None:
        self.path, self.suite, self.refresh = path, suite, refresh
        self.state = load(path)
        self._due: set[tuple[str, str]] = set()  # the updates that were pending before a build

    def inspect(self, client: Any, ids: Iterable[str], built: bool = False) -> State:
        """Return the state, with these images.

        :param built: whether the images have just been built: what they lack now is not available for builds.
        """
        ids = list(dict.fromkeys(ids))
        if self.refresh and not built and self._is_due():
            self.state["refreshed"] = time.time()  # also if it fails: a host without internet tries once a day
            self.state["problem"] = _refresh_lists()
            self._save(None)
        lists = os.stat(LISTS).st_mtime_ns if os.path.isdir(LISTS) else 0
        known = self.state["images"]
        # In check mode, images that no run has read are left out, because that needs a container.
        ids = [one for one in ids if one in known or self.refresh]
        new = [one for one in ids if one not in known]
        if new or (ids and lists != self.state.get("lists")):
            for one in new:
                known[one] = {"packages": _packages(client, one), "updates": {}, "missing": {}}
            self._read_updates()
            for one in ids if built else []:
                known[one]["missing"] = dict(self._due & set(known[one]["updates"].items()))
            self.state["lists"] = lists
            self._save(client)
        if not built:
            self._due = {update for one in ids if one in known for update in pending(known[one]).items()}
        return self.state

    def _is_due(self) -> bool:
        """Return whether the lists were refreshed a day ago, or at a time that has not come yet."""
        return not 0 <= time.time() - self.state.get("refreshed", 0) < REFRESH_INTERVAL

    def _read_updates(self) -> None:
        entries = self.state["images"].values()
        names = sorted({name for entry in entries for name in entry["packages"]})
        if not names:
            return
        madison = subprocess.run(["apt-cache", "madison", *names], capture_output=True, text=True, check=False)
        available = parse_madison(madison.stdout, apt_sources.archives(apt_sources.index_targets(), self.suite))
        for entry in entries:
            entry["updates"] = newer(entry["packages"], available, _is_newer)

    def _save(self, client: Any) -> None:
        if not self.refresh:
            return
        if client:
            present = {image["Id"] for image in client.images(all=True)}
            self.state["images"] = {one: entry for one, entry in self.state["images"].items() if one in present}
        files.write_atomically(self.path, json.dumps(self.state, indent=1, sort_keys=True), 0o644, parents=True)


def _refresh_lists() -> str:
    """Refresh apt's package lists; return why this failed, empty when it did not."""
    command = ["apt-get", "update", "-qq", "--error-on=any"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=REFRESH_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1] if done.returncode else ""


def _is_newer(version: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", version, "gt", other], check=False).returncode == 0


def _packages(client: Any, image_id: str) -> dict[str, str]:
    """Return the packages in an image, from a container without network.

    :raises DeployError: they cannot be read.
    """
    host_config = client.create_host_config(cap_drop=["ALL"], security_opt=["no-new-privileges"], network_mode="none")
    container = client.create_container(
        image_id, entrypoint=["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n"], command=[], user="0",
        network_disabled=True, labels={LABEL_PURPOSE: PURPOSE}, host_config=host_config,
        use_config_proxy=False,
    )["Id"]  # fmt: skip
    try:
        _, output = run_to_end(client, container, QUERY_TIMEOUT)
        found = parse_packages(output)
        if not found:
            raise DeployError(f"the packages in image {image_id} cannot be read: {output or 'no output'}")
        return found
    finally:
        client.remove_container(container, force=True, v=True)
