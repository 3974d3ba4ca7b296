"""Temporary users of a hub: created with a volume each, and removed with everything that they have.

The labeled volume is there before the user and after it, and so is the record of what a killed run has left. Backups
leave these volumes out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, name_of
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_REHEARSAL, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, volume_name
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.hub.storage import Storage
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers
from ansible.module_utils.jupyterhub_deploy.text import counted

# Removals at the same time: the hub and Docker also work for real users.
REMOVALS = 8
# A start that is interrupted may be refused to stop for some seconds.
ATTEMPTS, PAUSE = 6, 3.0
# Seconds that one answer of the hub, and the end of one server, may take on a host that is too busy.
TIMEOUT, STOP_TIMEOUT = 90.0, 120.0
HOW_TO_REMOVE = "run `ansible-playbook playbooks/rehearse.yml -e users=0`, which removes them"


class TemporaryUsers:
    """The temporary users of one hub.

    :param client: a low-level Docker client.
    :param api: the hub's API with the token of its service, which may stop servers and delete users.
    """

    def __init__(self, client: Any, hub: str, api: HubApi) -> None:
        self.client, self.hub, self.api = client, hub, api

    def existing(self) -> list[str]:
        """Return the names of those that exist, because a run was killed."""
        return sorted({user for user in (one.user for one in self._volumes(LABEL_REHEARSAL)) if user})

    def taken(self, names: list[str], accounts: Iterable[str]) -> list[str]:
        """Return what the hub or Docker already has of users with these names, who are not temporary ones.

        :param accounts: the names among them that have a native account.
        """
        known = {user["name"] for user in self.api.users(state="")}
        found = [f"user {name}" for name in names if name in known]
        found += [f"account {name}" for name in sorted(accounts) if name not in known]
        wanted = {volume_name(self.hub, name) for name in names}
        volumes = (Volume.of(one) for one in self.client.volumes()["Volumes"] or [])
        found += [f"volume {one.name}" for one in volumes if one.name in wanted or self._is_one_of(one.labels, names)]
        return found + [f"container {name_of(one)}" for one in self._containers(names)]

    def create(self, names: list[str], admin: HubApi) -> None:
        """Create users, none of them an administrator.

        :param admin: the hub's API with a token that may create users.
        """
        for name in names:
            labels = {LABEL_HUB: self.hub, LABEL_USER: name, LABEL_REHEARSAL: ""}
            self.client.create_volume(volume_name(self.hub, name), labels=labels)
        admin.request("POST", "/users", {"usernames": names, "admin": False}, expected=(201,))

    def containers(self, names: list[str]) -> list[str]:
        """Return the ids of the running containers of these users."""
        return [one["Id"] for one in self._containers(names) if one["State"] == "running"]

    def remove(self, names: list[str], report: Callable[[str], None]) -> None:
        """Remove users with their servers, containers and volumes.

        :param report: gets lines about how many are removed.
        :raises DeployError: some could not be removed; the others are.
        """
        problems: dict[str, Exception] = {}

        def remove(name: str) -> None:
            try:
                self._remove_with_patience(name)
            except FAILURES as error:
                problems[name] = error

        # The last in the queue first, so that no other gets the turn of one that was removed.
        with ThreadPoolExecutor(REMOVALS) as pool:
            for number, _ in enumerate(pool.map(remove, reversed(names)), 1):
                report(f"{number} of {len(names)} temporary users are removed")
        if problems:
            name, error = min(problems.items())
            raise DeployError(
                f"{counted(len(problems), 'temporary user', 'temporary users')} could not be removed ({name}: {error})"
                f"; fix that, then {HOW_TO_REMOVE}"
            )

    def _remove_with_patience(self, name: str) -> None:
        for left in reversed(range(ATTEMPTS)):
            try:
                return self._remove(name)
            except FAILURES:
                if not left:
                    raise
                time.sleep(PAUSE)
        return None

    def _remove(self, name: str) -> None:
        # There is nothing to save: without its container, a server stops at once, and its memory is free.
        self._remove_containers(name)
        if self.api.user(name) is not None:
            servers.stop(self.api, {"user": name, "server": ""}, STOP_TIMEOUT)
            self.api.request("DELETE", f"/users/{quote(name, safe='')}", expected=(204, 404))
        self._remove_containers(name)  # one that was just being created
        for volume in self._volumes(f"{LABEL_USER}={name}"):
            self.client.remove_volume(volume.name)

    def _remove_containers(self, name: str) -> None:
        for one in self._containers([name]):
            # Docker may be removing it for the hub.
            with contextlib.suppress(docker_errors.APIError):
                self.client.remove_container(one["Id"], force=True, v=True)

    def _containers(self, names: list[str]) -> list[dict[str, Any]]:
        filters = {"label": [f"{LABEL_HUB}={self.hub}", LABEL_USER]}
        found = self.client.containers(all=True, filters=filters)
        return [one for one in found if one["Labels"][LABEL_USER] in names]

    def _volumes(self, label: str) -> list[Volume]:
        filters = {"label": [f"{LABEL_HUB}={self.hub}", label]}
        return [Volume.of(one) for one in self.client.volumes(filters=filters)["Volumes"] or []]

    def _is_one_of(self, labels: dict[str, str], names: list[str]) -> bool:
        return labels.get(LABEL_HUB) == self.hub and labels.get(LABEL_USER) in names


def check_names(taken: list[str], hub: str) -> None:
    """Check that nothing of users with the names of temporary ones exists. Pure.

    :param taken: from :meth:`TemporaryUsers.taken`.
    :raises DeployError: something does.
    """
    if taken:
        raise DeployError(
            f"hub {hub} already has {', '.join(taken[:5])}{' and others' if len(taken) > 5 else ''}, and no rehearsal "
            "created it; nothing was changed; delete that user with playbooks/delete_user.yml, or remove the container "
            "or volume, then run the same again"
        )


def check_directories(storage: Storage) -> None:
    """Check that users' files are in volumes, which are removed with a temporary user. Pure.

    :raises DeployError: they are in directories of the host.
    """
    found = [one for one in storage.volumes if one.startswith("/") and "username}" in one]
    if found:
        raise DeployError(
            f"servers of this hub use {', '.join(found)} on the host, where a rehearsal would leave a directory for "
            "each temporary user; nothing was changed; rehearse with a second hub whose users have volumes "
            "(docs/how-to/second-hub.md)"
        )
