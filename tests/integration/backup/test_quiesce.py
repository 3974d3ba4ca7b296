"""Quiesced volumes: containers are paused and always unpaused, servers are stopped, and the results are reported."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.module_utils.jupyterhub_deploy.backup import archive, pause
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.servers import policy as servers_plan
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers

from hosts.run import name as run_name
from support.backup_site import ALICE, HUB, Site
from support.factories import images
from support.long_runs import Times


class QuiescedSite(Site):
    """A user's volume, and containers that use it."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder)
        self.image = image
        self.data = self.volume(ALICE, "alice")
        (self.data / "file").write_bytes(os.urandom(1 << 20))

    def start(self, name: str, source: str = ALICE) -> str:
        """Start a container with the volume, or another source; return its id."""
        return self.start_container(self.image, name, source)

    def paused(self, identity: str) -> bool:
        return bool(self.client.inspect_container(identity)["State"]["Paused"])

    def run(self, **more: Any) -> dict[str, Any]:
        return super().run(**{"hub_state": False, "force": True, "consistency": "paused", **more})

    def one(self, **more: Any) -> dict[str, Any]:
        (result,) = self.run(**more)["results"]
        return dict(result)

    def marks(self) -> list[str]:
        return [name for name in os.listdir(self.directory) if name.startswith(".paused-")]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    client: Any = docker.APIClient(version="auto")
    name = run_name("quiesce-image:1")
    images.make(client, name, {})
    yield name
    client.remove_image(name, force=True)


@pytest.fixture
def site(tmp_path: Path, image: str) -> Iterator[QuiescedSite]:
    made = QuiescedSite(tmp_path, image)
    yield made
    made.remove()


@pytest.fixture
def at_end_of_tar(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that installs a callback, run after tar has ended and before containers are unpaused."""

    def install(work: Callable[[], object]) -> None:
        copy = archive._copy

        def copied(*arguments: Any) -> tuple[str, int]:
            done = copy(*arguments)
            work()
            return done

        monkeypatch.setattr(archive, "_copy", copied)

    return install


def test_containers_that_use_the_volume_are_paused_only_while_it_is_read(
    site: QuiescedSite, at_end_of_tar: Callable[[Callable[[], object]], None]
) -> None:
    mine, by_path, other = site.start("mine"), site.start("path", str(site.data)), site.start("other", "/tmp")
    seen: list[list[bool]] = []
    at_end_of_tar(lambda: seen.append([site.paused(one) for one in (mine, by_path, other)]))

    result = site.one()

    assert seen == [[True, True, False]]
    assert not any(map(site.paused, (mine, by_path)))
    assert (result["consistency"], result["not_at_rest"]) == ("paused", [])
    assert result["paused"] == [f"{HUB}-mine", f"{HUB}-path"]
    assert site.marks() == []
    assert '"consistency": "paused"' in next(site.directory.glob("*/*.json")).read_text()
    assert site.one(consistency="live")["consistency"] == "live"
    assert len(seen) == 2
    assert seen[1] == [False, False, False]


def test_containers_that_somebody_else_has_paused_stay_paused(site: QuiescedSite) -> None:
    theirs, mine = site.start("theirs"), site.start("mine")
    site.client.pause(theirs)

    result = site.one()

    assert site.paused(theirs)
    assert not site.paused(mine)
    assert (result["consistency"], result["paused"]) == ("paused", [f"{HUB}-mine"])


def test_a_container_that_runs_meanwhile_makes_it_live(
    site: QuiescedSite, at_end_of_tar: Callable[[Callable[[], object]], None]
) -> None:
    at_end_of_tar(lambda: site.start("late"))

    result = site.one()

    assert result["consistency"] == "live"
    assert result["not_at_rest"] == [f"{HUB}-late started, or continued to run, while the volume was read"]


def test_a_backup_that_fails_unpauses(site: QuiescedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = site.start("mine")
    monkeypatch.setattr(archive, "TAR", ["false"])

    with pytest.raises(Exception, match="cannot be packed"):
        site.run()

    assert not site.paused(mine)
    assert site.marks() == []


def test_a_container_of_two_volumes_is_paused_until_both_are_read(site: QuiescedSite, tmp_path: Path) -> None:
    mine = site.start("mine")
    pauses = pause.Pauses(site.client, str(tmp_path))
    entered, leave = threading.Barrier(2, timeout=20), threading.Event()

    def other() -> None:
        with pauses.paused(mine):
            entered.wait()
            leave.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    with pauses.paused(mine):
        entered.wait()
    assert site.paused(mine)
    leave.set()
    thread.join()
    assert not site.paused(mine)
    pauses.close()


def killed(site: QuiescedSite, moment: Callable[[], object]) -> None:
    """Run the module in another process until a moment, and kill it."""
    child = os.fork()
    if not child:
        os.setsid()
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        try:
            site.run()
        finally:
            os._exit(0)
    moment()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_kill_at_any_moment_leaves_no_container_paused(site: QuiescedSite, times: Times) -> None:
    (site.data / "file").write_bytes(os.urandom(24 << 20))
    mine = site.start("mine")
    moments = random.Random(9)
    number, while_paused = 0, 0

    def moment() -> None:
        if number % 2:  # half of the kills soon after the pause, which is short
            deadline = time.monotonic() + 5  # a busy machine may miss it
            while not site.paused(mine) and time.monotonic() < deadline:
                time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.03 if number % 2 else 0.4))

    while number < times(6, 16) or while_paused < times(1, 5):
        assert number < 60
        number += 1
        killed(site, moment)
        while_paused += bool(site.marks())
        until(lambda: not site.paused(mine))
    time.sleep(1)  # a request that was under way does not pause it later
    assert not site.paused(mine)
    assert site.run()["results"][0]["consistency"] == "paused"
    assert site.marks() == []


def test_the_next_run_unpauses_what_the_watchdog_could_not(site: QuiescedSite) -> None:
    theirs, mine, ended = site.start("theirs"), site.start("mine"), site.start("ended")
    site.client.pause(theirs)
    site.directory.mkdir()
    for identity in (mine, ended, "f" * 64):
        (site.directory / f".paused-{identity}-00000000").touch()
    site.client.pause(mine)
    site.client.kill(ended)

    result = site.run(consistency="live")

    assert not site.paused(mine)
    assert site.paused(theirs)
    assert result["cleaned"] == [f"container {HUB}-mine, which it had left paused"]
    assert result["changed"]
    assert site.marks() == []


def test_the_watchdog_does_not_undo_a_pause_that_is_not_ours(site: QuiescedSite, tmp_path: Path) -> None:
    mine = site.start("mine")
    pauses = pause.Pauses(site.client, str(tmp_path))
    pauses._send(f"pausing {mine} {tmp_path / 'gone'}")
    pauses._send(f"paused {mine}")
    site.client.pause(mine)
    pauses.close()
    assert pauses._watchdog
    assert pauses._watchdog.wait(30) == 0
    assert site.paused(mine)


def test_without_a_watchdog_nothing_is_paused(site: QuiescedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = site.start("mine")
    send = pause.Pauses._send

    def dead(pauses: Any, line: str) -> None:
        if not pauses._watchdog:
            send(pauses, "done x")
            pauses._watchdog.kill()
            pauses._watchdog.wait()
        send(pauses, line)

    monkeypatch.setattr(pause.Pauses, "_send", dead)

    result = site.one()

    assert not site.paused(mine)
    assert result["consistency"] == "live"
    assert "-mine was not paused: the process that would unpause" in result["not_at_rest"][0]
    assert site.marks() == []


def test_servers_are_stopped_by_the_hub_but_not_one_that_computes(
    site: QuiescedSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stop itself is tested elsewhere; this checks which servers are stopped, and the result.
    identities = {name: site.start(name) for name in ("idle", "busy", "stranger")}
    known = [{"container": f"{HUB}-{name}", "container_id": identities[name]} for name in ("idle", "busy")]

    def stop(api: object, server: dict[str, str], timeout: float) -> None:
        site.client.kill(server["container_id"])

    def computing(stats: dict[str, Any]) -> float:
        return 0.9 if stats["id"] == identities["busy"] else 0.0

    monkeypatch.setattr(hub_api, "connect", lambda client, hub, token_file: (hub, token_file))
    monkeypatch.setattr(servers, "observe", lambda client, api, hub, current: known)
    monkeypatch.setattr(servers, "recheck", lambda client, api, server, policy, idle: (server, True, ""))
    monkeypatch.setattr(servers, "stop", stop)
    monkeypatch.setattr(servers_plan, "computing", computing)

    result = site.one(consistency="stopped")

    assert result["stopped"] == [f"{HUB}-idle"]
    assert result["consistency"] == "live"
    assert result["not_at_rest"] == [
        f"{HUB}-busy was not stopped: it computes: 90% of a processor core",
        f"{HUB}-stranger was not stopped: the hub does not know it as a server",
    ]
    for name in ("busy", "stranger"):
        site.client.kill(identities[name])
    assert site.one(consistency="stopped")["consistency"] == "stopped"


def test_a_volume_is_backed_up_live_when_the_hub_does_not_respond(site: QuiescedSite) -> None:
    site.start("mine")

    result = site.one(consistency="stopped")

    assert result["action"] == "backed_up"
    assert result["consistency"] == "live"
    assert f"-mine was not stopped: there is no hub container {HUB} on this host" in result["not_at_rest"][0]
