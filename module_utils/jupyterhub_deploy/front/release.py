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
    problem = _reload(container, lambda: is_used(config, site))
    if problem:
        write(directory, old)
        container.run(RELOAD)
        raise DeployError(
            f"nginx did not use its new configuration ({problem}), so the old one was restored{container.log()}"
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
    problem = f"nginx -t failed: {output}" if code else _reload(container, lambda: True)
    if problem:
        target.write(directory, hub, old)
    if not problem or (code and known) or (not code and not _reload(container, lambda: True)):
        os.unlink(pending)
    if problem:
        raise DeployError(
            f"the front {container.name} does not pass requests to the new proxy at {address}, so the old one stays in "
            f"use: {problem}{container.log()}"
        )


def _reload(container: FrontContainer, is_ready: Callable[[], bool]) -> str:
    """Make nginx read its configuration again; return why it did not, or why old workers still accept connections.

    :param is_ready: another condition.
    """
    workers: set[str] = set()

    def has_workers() -> bool:
        workers.update(container.workers())
        return bool(workers)

    # nginx listens before it has its first workers, and its new ones have no name yet when the old ones shut down.
    wait_until(has_workers, PATIENCE)
    if not workers:
        return "it has no workers"
    code, output = container.run(RELOAD)
    if code:
        return f"nginx -s reload failed: {output}"

    def has_new_workers() -> bool:
        now = container.workers()
        return bool(now) and not workers & now

    if wait_until(lambda: is_ready() and has_new_workers(), container.health_timeout):
        return ""
    return f"its workers were not replaced within {container.health_timeout:.0f} s"


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
