"""Replace a hub's proxy behind the front, which interrupts no connection.

The new proxy starts beside the old one, at another address, and gets its routes. Then the front passes requests to
it, and the old one ends with its last connection. What the front uses (``front.target``) and the names of the
containers are the whole state, so that :meth:`ProxyReplacement.recover` can complete or revert a run that was killed.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request
from typing import Any
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.containers import spec as container_spec
from ansible.module_utils.jupyterhub_deploy.containers.container import problem_at
from ansible.module_utils.jupyterhub_deploy.containers.proxy import (
    API_PORT,
    HEALTH_PATH,
    HOST_ROUTING,
    LABEL_DRAINS,
    PUBLIC_PORT,
    ProxyContainer,
    ProxyOptions,
    fixed_addresses,
)
from ansible.module_utils.jupyterhub_deploy.containers.replacement import STOP_TIMEOUT
from ansible.module_utils.jupyterhub_deploy.docker.client import environment_of, inspect_container, inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import FAILURES, DeployError
from ansible.module_utils.jupyterhub_deploy.front import handover, release, site, target
from ansible.module_utils.jupyterhub_deploy.front.container import FrontContainer
from ansible.module_utils.jupyterhub_deploy.hub import api, routes
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

# What can go wrong with the API of an old proxy.
BROKEN: tuple[type[Exception], ...] = (*FAILURES, http.client.HTTPException, LookupError, ValueError)
TIMEOUT = 10.0  # seconds for one answer of a proxy's API


class ProxyReplacement:
    """The replacement of one hub's proxy.

    :param proxy: the proxy.
    :param options: of the module ``jupyterhub_proxy``.
    """

    def __init__(self, proxy: ProxyContainer, options: ProxyOptions) -> None:
        self.proxy, self.options = proxy, options
        self.client, self.directory = proxy.client, options.front_directory
        self.front = FrontContainer(proxy.client, options.front, options.health_timeout)

    def is_possible(self, current: dict[str, Any] | None) -> bool:
        """Return whether the proxy that runs can be replaced this way.

        :param current: Docker's description of it, ``None`` when there is none.
        """
        image = inspect_image(self.client, self.options.image) or {}
        labels = (image.get("Config") or {}).get("Labels") or {}
        return bool(current and current["State"]["Running"] and labels.get(LABEL_DRAINS))

    def replace(self, spec: container_spec.Spec) -> list[str] | None:
        """Replace the proxy; return what the operator has to know, ``None`` if that is not possible.

        It is not possible if the new one gets no routes, because the old one is broken and the hub is away.

        :param spec: of the new one; its port is chosen here.
        :raises DeployError: that fails; the old one still serves.
        """
        try:
            address = self._start(spec)
        except FAILURES as error:
            self.proxy.discard_replacement()
            raise DeployError(
                f"the new proxy could not be prepared, so the old one was left as it was: {error}"
            ) from error
        copied = self._copy_routes()
        # The front's lock may be held for minutes. Until the front uses the new proxy, the hub has to use the old one.
        with files.locked(self.directory, wait=True):
            told = routes.restore(self.client, self.options, self.proxy.next)
            try:
                if not copied and told.state != routes.RESTORED:
                    return None
                self.client.update_container(self.proxy.next, restart_policy={"Name": spec["restart_policy"]})
                self._use(address)
                messages = self._move_port()
            finally:
                if target.read(self.directory, self.options.hub) != address:
                    self.proxy.discard_replacement()
                    routes.restore(self.client, self.options, self.proxy.name)
        try:
            return messages + self._retire_old()
        except FAILURES as error:
            raise DeployError(
                f"the new proxy {self.proxy.next} serves, but the old one did not end: {error}. Run make site again"
            ) from error

    def is_bypassed(self) -> bool:
        """Return whether the proxy runs and the front does not pass requests to it, or perhaps does not.

        One without a fixed address is of an earlier version, and is replaced.
        """
        current = self.proxy.observe()
        is_ours = bool(current and current["State"]["Running"] and fixed_addresses(current))
        return is_ours and not self._is_used(target.published(current))

    def use(self, address: str) -> None:
        """Make the front pass requests to an address, unless it does already, and serve what waited for that.

        :raises DeployError: it does not.
        """
        with files.locked(self.directory, wait=True):
            self._use(address)
            self._move_port()

    def recover(self) -> list[str]:
        """Complete or revert what a killed run left; return a message for each action."""
        proxy, messages = self.proxy, []
        new, current = inspect_container(self.client, proxy.next), proxy.observe()
        served = target.read(self.directory, self.options.hub)
        if new and target.published(new) == served and self._runs(new):
            self.use(served)  # nginx may not have read its configuration again
            messages.append(f"{proxy.next}, which an unfinished run started, serves now")
            messages += self._retire_old()
        elif current and current["State"]["Running"] and served:
            with files.locked(self.directory, wait=True):
                self._use(target.published(current))
        return messages

    def _runs(self, new: dict[str, Any]) -> bool:
        """Return whether the new proxy, which the front uses already, runs; start it if it does not."""
        if not new["State"]["Running"]:
            try:
                self.client.start(self.proxy.next)
                self.proxy.wait_until(lambda: self.proxy.is_healthy(self.proxy.next), "healthy", self.proxy.next)
            except FAILURES:
                return False
        return True

    def _use(self, address: str) -> None:
        if not self._is_used(address):
            release.retarget(self.front, self.directory, self.options.hub, address)

    def _is_used(self, address: str) -> bool:
        hub = self.options.hub
        return target.read(self.directory, hub) == address and not os.path.exists(target.pending(self.directory, hub))

    def _move_port(self) -> list[str]:
        """Give the front the port of the old proxy, if it waits for that; return what the operator has to know.

        :raises DeployError: the front does not serve; the old proxy does again, if there is one.
        """
        waiting = site.read_waiting(self.directory, self.options.hub)
        if not waiting:
            return []
        old = self.proxy.observe()
        holds = bool(old) and self.proxy.name in handover.holders(self.client.containers(), waiting)
        try:
            if holds:
                self.client.stop(self.proxy.name, timeout=STOP_TIMEOUT)
            handover.serve(self.front, self.directory, waiting)
        except BaseException:
            if holds:
                target.write(self.directory, self.options.hub, target.published(old))
                self.client.start(self.proxy.name)
                wait_until(self.proxy.is_healthy, self.options.health_timeout)
            raise
        if not holds:
            return []
        return [
            f"port {waiting.http_port} moved from the old proxy to the front, which interrupted the connections that "
            "were open there, this once"
        ]

    def _start(self, spec: container_spec.Spec) -> str:
        """Start the new proxy; return its address on this host."""
        proxy = self.proxy
        network = self.options.front_network
        own_address = target.free_address(self.client, network)
        address = f"{own_address}:{PUBLIC_PORT}"
        # Not started again by a reboot, until it serves.
        own = {"addresses": {network: own_address}, "restart_policy": "no"}
        proxy.create_replacement({**spec, **own}, self.options.control_network)
        self.client.start(proxy.next)
        proxy.wait_until(lambda: proxy.is_healthy(proxy.next), "answering its health check", proxy.next)
        url = f"http://{address}/{HEALTH_PATH}"
        proxy.wait_until(lambda: not problem_at(url), f"reachable at {url}", proxy.next)
        return address

    def _same_routing(self) -> bool:
        """Return whether the routes of both proxies begin with a host name, or those of none."""
        found = (inspect_container(self.client, name) or {} for name in (self.proxy.name, self.proxy.next))
        return len({environment_of(one).get(HOST_ROUTING, "") for one in found}) == 1

    def _copy_routes(self) -> bool:
        """Give the new proxy the routes of the old one, so that servers are reachable also while the hub is away.

        :returns: whether that was possible: the old one may be broken, or have another token.
        """
        if not self._same_routing():
            return False
        try:
            token = api.read_token(self.options.token_file)
            old, new = (self._api(name) for name in (self.proxy.name, self.proxy.next))
            for path, route in json.loads(_request("GET", f"{old}/api/routes", token)).items():
                _request("POST", f"{new}/api/routes{quote(path, safe='/')}", token, json.dumps(route).encode())
        except BROKEN:
            return False
        return True

    def _api(self, name: str) -> str:
        """Return the URL of the API of a proxy's container, as this host reaches it."""
        networks = (inspect_container(self.client, name) or {})["NetworkSettings"]["Networks"]
        return f"http://{networks[self.options.control_network]['IPAddress']}:{API_PORT}"

    def _retire_old(self) -> list[str]:
        """Let the old proxy end, and give the new one its name; return what the operator has to know."""
        proxy, messages = self.proxy, []
        if not proxy.observe():  # killed between the two renames
            self.client.rename(proxy.next, proxy.name)
            return []
        # Before the renames, so that no old proxy has an open API after a kill.
        if self._drains(proxy.name):
            messages += proxy.drain(proxy.name)
        else:
            self.client.stop(proxy.name, timeout=STOP_TIMEOUT)
            messages.append(
                "the old proxy, of an earlier version, was stopped, which interrupted the connections that were open"
            )
        proxy.old.rename(proxy.name, proxy.next)
        return messages

    def _drains(self, name: str) -> bool:
        labels = ((inspect_container(self.client, name) or {}).get("Config") or {}).get("Labels") or {}
        return bool(labels.get(LABEL_DRAINS))


def _request(method: str, url: str, token: str, body: bytes | None = None) -> bytes:
    """Make a request to a proxy's API; return the body of the answer.

    :raises DeployError: it is not answered with success.
    """
    request = urllib.request.Request(url, body, {"Authorization": f"token {token}"}, method=method)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return bytes(response.read())
    except OSError as error:
        raise DeployError(f"{method} {url.partition('/routes')[0]}/routes of a proxy failed: {error}") from error
