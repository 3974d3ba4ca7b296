"""Discard accounts that a flood of sign-ups left and that nobody has used. Their owners have no files.

The hub knows when an account signed up, and whether it has had a server (``jupyterhub_deploy_hub.sign_ups``); the host
knows volumes, directories and backups. Whatever has one of them is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.backup import store
from ansible.module_utils.jupyterhub_deploy.backup.manifest import HUB_FOLDER
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume, users_volumes
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import storage
from ansible.module_utils.jupyterhub_deploy.hub.api import SERVICE, HubApi
from ansible.module_utils.jupyterhub_deploy.text import counted, parse_time
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts
from ansible.module_utils.jupyterhub_deploy.users.delete import DELETED

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?)?(Z|[+-]\d\d:?\d\d)?")


class Plan(NamedTuple):
    """What to do with the unused accounts of a hub.

    :ivar discard: the hub's descriptions of the accounts (see ``sign_ups.unused``).
    :ivar keep: why others are kept, by name.
    """

    discard: list[dict[str, Any]]
    keep: dict[str, str]


def parse_since(text: str) -> datetime:
    """Return a time as an operator writes it: a day, or with hours and minutes; in UTC unless it has an offset.

    :raises DeployError: it is not a time.
    """
    match = _TIME.fullmatch(text.strip())
    try:
        day, minutes, seconds, zone = match.groups() if match else ("", None, None, None)
        since = parse_time(f"{day}T{minutes or '00:00'}{seconds or ':00'}{zone or ''}")
    except ValueError:  # the 31st of February
        since = None
    if since is None:
        raise DeployError(f"since is {text!r}; write a time in UTC such as 2026-11-27T10:00, or 2026-11-27T11:00+01:00")
    return since


class Host:
    """What a host has of the users of one hub.

    :param client: a low-level Docker client.
    :param hub: name of the hub's container.
    :param directory: of the hub's backups.
    """

    def __init__(self, client: Any, hub: str, directory: str) -> None:
        self.hub = hub
        self._volumes = users_volumes(hub, [Volume.of(one) for one in client.volumes()["Volumes"] or []])
        self._backups = {
            folder: backups[-1].manifest
            for folder in store.folders(directory)
            if folder not in (HUB_FOLDER, DELETED) and (backups := store.backups_in(directory, folder))
        }
        container = inspect_container(client, hub)
        self._storage = storage.read(container) if container else None

    def has(self, user: str) -> str | None:
        """Return what there is of a user, ``None`` when there is nothing."""
        for volume in self._volumes:
            if volume.is_of(user, self.hub):
                return f"volume {volume.name}"
        for path in storage.directories_of(self._storage, user) if self._storage else []:
            return f"directory {path}"
        for folder, manifest in self._backups.items():
            if manifest.hub == self.hub and manifest.is_of(user):
                return f"backups of volume {folder}"
        return None


def plan(unused: Iterable[dict[str, Any]], host: Host) -> Plan:
    """Return which unused accounts to discard, and which to keep because the host has something of the user."""
    discard, keep = [], {}
    for account in unused:
        found = f"a service called {SERVICE}, too" if account["name"] == SERVICE else host.has(account["name"])
        if found:
            keep[account["name"]] = found
        else:
            discard.append(account)
    return Plan(discard, keep)


def apply(accounts: Accounts, api: HubApi, planned: Plan, since: datetime) -> list[str]:
    """Discard the accounts that are still unused; return their names.

    :raises DeployError: the hub refuses or does not answer; the next run does the rest.
    """
    done = []
    for name in (account["name"] for account in planned.discard if account["known"]):
        user = api.user(name)
        # Somebody may have started a server since the accounts were read.
        if user and not user.get("servers"):
            api.request("DELETE", f"/users/{quote(name, safe='')}", expected=(204, 404))
            done.append(name)
    names = [account["name"] for account in planned.discard if not account["known"]]
    if names:
        done += accounts.request("discard", names=names, since=since.timestamp())["discarded"]
    return done


def messages(names: list[str], planned: Plan, since: datetime, check_mode: bool) -> list[str]:
    """Return what was or would be discarded, and what is kept. Pure.

    :param names: of the accounts that were or would be discarded.
    """
    when = since.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    kept = [f"{name} is kept, because there is {what}" for name, what in planned.keep.items()]
    if not names:
        return [f"no unused account has signed up since {when}; nothing was discarded", *kept]
    what = counted(len(names), "unused account", "unused accounts")
    verb = "would be" if check_mode else "was" if len(names) == 1 else "were"
    return [f"{what} that signed up since {when} {verb} discarded: {', '.join(names)}", *kept]
