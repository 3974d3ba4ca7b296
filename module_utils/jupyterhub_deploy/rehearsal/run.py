"""A rehearsal: temporary users start real servers on a hub, and are removed again, whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple
from urllib.parse import quote

from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.hub import host, storage
from ansible.module_utils.jupyterhub_deploy.hub.api import HubApi
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.rehearsal import measure, plan, summary
from ansible.module_utils.jupyterhub_deploy.rehearsal import temporary_users as temporary
from ansible.module_utils.jupyterhub_deploy.rehearsal.pages import Pages
from ansible.module_utils.jupyterhub_deploy.rehearsal.plan import Memory, Places, Wanted
from ansible.module_utils.jupyterhub_deploy.rehearsal.starts import Start, Starter
from ansible.module_utils.jupyterhub_deploy.rehearsal.watch import Watch, stop_file
from ansible.module_utils.jupyterhub_deploy.text import counted
from ansible.module_utils.jupyterhub_deploy.users.accounts import Accounts

IDLE_SECONDS = 3.0  # for the hub's page before the starts
LOOK_SECONDS = 2.0  # between two looks at host and hub
TOKEN_SECONDS = 3600
TOKEN_NOTE = "rehearse.yml, from the host"  # noqa: S105  (a note, not the token)
NATIVE = "native"


class Found(NamedTuple):
    """What there is before a rehearsal.

    :ivar places: the servers of the hub.
    :ivar token_of: administrators whose token may be used.
    """

    places: Places
    token_of: list[str]


class Rehearsal:
    """Rehearsals of one hub.

    :param client: a low-level Docker client.
    :param token_file: path of the hub's secret ``api_token``.
    :raises DeployError: the hub does not exist or does not run.
    """

    def __init__(self, client: Any, hub: str, token_file: str, reporter: Reporter) -> None:
        self.client, self.hub, self.reporter = client, hub, reporter
        self.api = hub_api.connect(client, hub, token_file)
        self.accounts = Accounts(client, hub)
        patient = hub_api.connect(client, hub, token_file, temporary.TIMEOUT)
        self.users = temporary.TemporaryUsers(client, hub, patient)
        self.info = client.info()

    def remove(self, names: list[str]) -> None:
        """Remove temporary users with all that they have.

        :raises DeployError: some remain.
        """
        if names:
            self.reporter.say(f"removing {counted(len(names), 'temporary user', 'temporary users')}")
            self.users.remove(names, self.reporter.update)

    def check(self, wanted: Wanted, left: list[str]) -> Found:
        """Check that a rehearsal harms nobody, before anything is changed.

        :param left: temporary users of an earlier run that still exist.
        :raises DeployError: it could.
        """
        container = inspect_container(self.client, self.hub) or {}
        settings = measure.settings(container)
        temporary.check_directories(storage.read(container))
        names = [name for name in plan.names(wanted.users) if name not in left]
        seen = self.accounts.request(
            "read", names=names, passwords={}, compare=[], native=NATIVE in settings["authenticators"]
        )
        temporary.check_names(self.users.taken(names, seen["accounts"]), self.hub)
        memory = self.memory()
        limit = plan.server_limit(settings["server_limit"], settings["total_memory"], memory.total)
        active = sum(len(user["servers"]) for user in self.api.users() if user["name"] not in left)
        places = Places(active, limit, settings["concurrent_starts"] != 0)
        plan.check_space(wanted, memory, places, host.free_bytes(self.info["DockerRootDir"]))
        return Found(places, [seen["admin_user"], *seen["admins_by_configuration"]])

    def run(self, wanted: Wanted, found: Found) -> dict[str, Any]:
        """Start the servers, measure, and remove everything; return the module's result.

        :raises DeployError: the rehearsal was stopped early, or something could not be removed. Its result has the
            report.
        """
        names, before = plan.names(wanted.users), self.memory()
        self.reporter.say("measuring the hub's sign-in page")
        with Pages(self._page()) as idle:
            time.sleep(IDLE_SECONDS)
        watch = Watch(stop_file(self.hub), names, found.places)
        with self._token(found.token_of) as token, _terminated(watch):
            admin = HubApi(self.api.url, token, self.api.timeout)
            starter = Starter(self.client, self.api.url, token, self._container_of, wanted.kernels)
            pool = ThreadPoolExecutor(wanted.at_once or wanted.users)
            try:
                self.users.create(names, admin)
                with Pages(self._page()) as busy:
                    futures = [pool.submit(starter.start, name) for name in names]
                    stopped = self._follow(futures, watch)
                    starter.stop.set()
                after = self.memory()
                if not stopped:
                    watch.reason(after, list(self.api.users()))  # for its counts
                self.reporter.say("measuring the memory of the servers")
                servers = measure.of_containers(self.users.containers(names))
            finally:
                starter.stop.set()
                try:
                    self.remove(names)
                finally:
                    pool.shutdown()
        starts = [future.result() for future in futures]
        measured = summary.Measured(
            servers, before, after, int(min(watch.lowest, after.available)), watch.places,
            summary.Latency(idle.seconds, idle.failed), summary.Latency(busy.seconds, busy.failed),
        )  # fmt: skip
        return _result(wanted, starts, measured, stopped)

    def memory(self) -> Memory:
        """Return the memory of the host and of all servers of the hub now."""
        return measure.memory(self.hub, self.info)

    def _page(self) -> str:
        return f"{self.api.url.removesuffix('/api')}/login"

    def _container_of(self, name: str) -> str | None:
        return next(iter(self.users.containers([name])), None)

    def _follow(self, futures: list[Future[Start]], watch: Watch) -> str:
        """Wait for all starts; return why to stop before, empty if all have ended."""
        while wait(futures, LOOK_SECONDS).not_done:
            try:
                reason = watch.reason(self.memory(), list(self.api.users()))
            except DeployError as error:
                reason = str(error)
            done = [future.result() for future in futures if future.done()]
            failed = sum(bool(one.failure) for one in done)
            ready = sum(one.seconds is not None for one in done)
            self.reporter.update(f"{ready} of {len(futures)} servers are ready{f', {failed} failed' if failed else ''}")
            if reason:
                self.reporter.say(f"the rehearsal is stopped: {reason}")
                return reason
        return ""

    @contextlib.contextmanager
    def _token(self, token_of: list[str]) -> Iterator[str]:
        """Provide a token of an administrator, which is revoked at the end."""
        granted = self.accounts.request(
            "token", token_of=token_of, scopes=["admin:users", "servers"], seconds=TOKEN_SECONDS, note=TOKEN_NOTE
        )
        admin = HubApi(self.api.url, granted["token"], self.api.timeout)
        try:
            yield granted["token"]
        finally:
            path = f"/users/{quote(granted['token_of'], safe='')}/tokens/{granted['token_id']}"
            with contextlib.suppress(DeployError):  # it ends by itself
                admin.request("DELETE", path, expected=(204, 403, 404))


def _result(wanted: Wanted, starts: list[Start], measured: summary.Measured, stopped: str) -> dict[str, Any]:
    ready = [one.seconds for one in starts if one.seconds is not None]
    result = {
        "messages": summary.report(wanted, starts, measured, stopped),
        "ready_servers": len(ready),
        "failed_starts": sum(bool(one.failure) for one in starts),
        "slowest_seconds": max(ready, default=None),
        "servers_left": summary.servers_left(measured),
    }
    if stopped:
        raise DeployError(
            f"the rehearsal was stopped early: {stopped}; its temporary users are removed, and real users keep their "
            "servers; rehearse with fewer users (-e users=…) or fewer at once (-e at_once=…), or at another time",
            result,
        )
    return result


@contextlib.contextmanager
def _terminated(watch: Watch) -> Iterator[None]:
    """Let the watch end the rehearsal when this process is asked to end."""

    def end(*_: object) -> None:
        watch.terminated = True

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_running(hub: str) -> None:
    """Make a rehearsal of a hub that is running end: it removes its users, and releases the lock."""
    with open(stop_file(hub), "w", encoding="utf-8"):
        pass


def forget_end(hub: str) -> None:
    """Remove what :func:`end_running` left. The caller holds the lock of the hub."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(stop_file(hub))
