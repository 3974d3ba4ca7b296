"""Put a configuration of nginx into use: write, validate, reload, verify that it is used, or restore the old one."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, write_atomically
from ansible.module_utils.jupyterhub_deploy.front import target
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.front.nginx import VERSION_PATH, version_of
from ansible.module_utils.jupyterhub_deploy.front.site import CONFIG, MOUNTED, Site
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

NEXT = f"{CONFIG}.next"
TIMEOUT = 2.0  # seconds for one answer
PATIENCE = 5.0  # seconds until a front that has just started has workers
RELOAD = ["nginx", "-c", f"{MOUNTED}/{CONFIG}", "-s", "reload"]


def current(directory: str) -> str:
    """Return the configuration that was released last, empty if none was."""
    return read_text(os.path.join(directory, CONFIG)) or ""


def write(directory: str, config: str) -> None:
    """Write the configuration for a container that is about to start."""
    write_atomically(os.path.join(directory, CONFIG), config)


def release(container: FrontContainer, directory: str, config: str, site: Site) -> None:
    """Make the running front use a configuration.

    :param site: one that the configuration has, to see whether it is used.
    :raises DeployError: nginx refuses it; it still uses the old one.
    """
    old = current(directory)
    write_atomically(os.path.join(directory, NEXT), config)
    code, output = container.run(["nginx", "-t", "-q", "-c", f"{MOUNTED}/{NEXT}"])
    if code and not container.listens():
        raise DeployError(f"container {container.name} does not run, so it uses no new configuration{container.log()}")
    if code:
        os.unlink(os.path.join(directory, NEXT))
        raise DeployError(f"nginx refuses the new configuration, so the old one stays in use: {output}")
    os.rename(os.path.join(directory, NEXT), os.path.join(directory, CONFIG))
    if not _reload(container, lambda: is_used(config, site)):
        write(directory, old)
        container.run(RELOAD)
        raise DeployError(
            f"after {container.health_timeout:.0f} s, nginx did not use its new configuration, so the old one was "
            f"restored{container.log()}"
        )


def retarget(container: FrontContainer, directory: str, hub: str, address: str) -> None:
    """Make the running front pass the requests for a hub to another address.

    Open requests and connections stay where they are.

    :param address: of the hub's proxy on this host, such as ``172.19.0.2:8000``.
    :raises DeployError: the front does not use it; it still uses the old one.
    """
    pending, old = target.pending(directory, hub), target.read(directory, hub)
    known = not os.path.exists(pending)  # nginx uses what the file says
    write_atomically(pending, "", parents=True)  # so that a run after a kill here does it again
    target.write(directory, hub, address)
    code, output = container.run(["nginx", "-t", "-q", "-c", f"{MOUNTED}/{CONFIG}"])
    used = not code and _reload(container, lambda: True)
    if not used:
        target.write(directory, hub, old)
    if used or (code and known) or (not code and _reload(container, lambda: True)):
        os.unlink(pending)
    if not used:
        raise DeployError(
            f"the front {container.name} does not pass requests to the new proxy at {address}, so the old one stays in "
            f"use: {output}{container.log()}"
        )


def _reload(container: FrontContainer, is_ready: Callable[[], bool]) -> bool:
    """Make nginx read its configuration again; return whether it did, and its old workers accept no more connections.

    :param is_ready: another condition.
    """
    wait_until(container.workers, PATIENCE)  # nginx listens before it has its first workers
    workers = container.workers()
    if not workers or container.run(RELOAD)[0]:
        return False

    def has_new_workers() -> bool:
        now = container.workers()
        return bool(now) and not workers & now

    return wait_until(lambda: is_ready() and has_new_workers(), container.health_timeout)


def is_used(config: str, site: Site) -> bool:
    """Return whether the front serves a site with a configuration."""
    return served_version(site) == version_of(config)


def served_version(site: Site) -> str | None:
    """Return the version of the configuration that nginx uses, ``None`` when it does not answer."""
    url = f"http://{site.local_address}:{site.http_port}{VERSION_PATH}"
    request = urllib.request.Request(url, headers={"Host": site.domain} if site.domain else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return str(response.read(64).decode("ascii", "replace"))
    except (OSError, urllib.error.HTTPError):
        return None
