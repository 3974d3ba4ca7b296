"""Servers on an old image, on a real hub that the operator's own site.yml created: listed, kept, stopped by policy.

Before each test, two users have the old image, alice who is idle and bob who is active; carol has the current one.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.hub import api as hub_api
from ansible.module_utils.jupyterhub_deploy.servers import stop as servers

import jupyterhub_servers
import jupyterhub_status
from hosts.run import name as run_name
from support.hub_http import HubSession
from support.local_site import LocalSite, Run
from support.modules import ModuleError, run

NAME = run_name("servers")
IMAGE = f"{NAME}/notebook:1"
PASSWORD = "a-long-enough-passphrase-of-the-test"
IDLE_SECONDS = 12  # more than the ten seconds after which the hub hears of traffic from the proxy


class OldServers:
    """The hub with its users. No run may print the token."""

    def __init__(self, site: LocalSite, first_id: str, second_id: str) -> None:
        self.site, self.first_id, self.second_id = site, first_id, second_id
        self.secrets = Path("/etc", NAME, "secrets")
        self.users: dict[str, HubSession] = {}
        self.tokens: dict[str, str] = {}
        self.touched: dict[str, float] = {}
        self.kept = Run({}, "", 0.0)  # of the site.yml after which there were old servers

    def join(self, name: str) -> None:
        """Sign a new user up and in, and start the server."""
        session = HubSession(self.site.url)
        session.sign_up(name, PASSWORD)
        assert session.sign_in(name, PASSWORD)
        session.spawn(name)
        self.users[name] = session
        self.tokens[name] = session.api("POST", f"/users/{name}/tokens", json={"expires_in": 3600}).json()["token"]

    def use_image(self, name: str, image: str) -> None:
        """Start a user's server from an image, unless it runs from that one."""
        if self.image_of(name) == image:
            return
        session = self.users[name]
        session.stop(name)
        self.site.client.images.get(image).tag(IMAGE)
        session.spawn(name)
        self.site.client.images.get(self.second_id).tag(IMAGE)
        assert self.image_of(name) == image

    def touch(self, name: str) -> None:
        """Use a server as its user does, by a request through the proxy."""
        headers = {"Authorization": f"token {self.tokens[name]}"}
        answer = requests.get(f"{self.site.url}/user/{name}/api/status", headers=headers, timeout=30)
        answer.raise_for_status()
        self.touched[name] = time.monotonic()

    def play(self, *arguments: str, **options: Any) -> Run:
        """Run a playbook, site.yml by default."""
        done = self.site.run(*arguments, **options)
        self.check(done.output)
        return done

    def check(self, output: str) -> None:
        """Assert that an output does not have the token."""
        assert hub_api.read_token(str(self.secrets / "api_token")) not in output

    def module(self, **options: Any) -> dict[str, Any]:
        """Run the module."""
        options.setdefault("token_file", str(self.secrets / "api_token"))
        try:
            result = run(jupyterhub_servers, name=NAME, **options)
        except ModuleError as error:
            self.check(json.dumps(error.result))
            raise
        self.check(json.dumps(result))
        return result

    def image_of(self, name: str) -> str | None:
        """Return the id of the image that a user's server runs, None when it does not run."""
        try:
            return str(self.site.container(f"jupyter-{name}")["Image"])
        except docker.errors.NotFound:
            return None


def by_user(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {server["user"]: server for server in result["servers"]}


@pytest.fixture(scope="module")
def pushed_again(notebook_image: Callable[[str], str]) -> Iterator[OldServers]:
    """The hub after its image was pushed again under the same name: alice and bob came before, carol after."""
    client = docker.from_env()
    site = LocalSite(NAME, jupyterhub_notebook_image=IMAGE)
    site.destroy()
    ids: list[str] = []
    for number in (1, 2):
        dockerfile = f"FROM {notebook_image('5.5.4')}\nLABEL org.jupyterhub.deploy.test={number}\n"
        built, _ = client.images.build(
            fileobj=io.BytesIO(dockerfile.encode()), tag=f"{NAME}/notebook:build{number}", rm=True
        )
        ids.append(str(built.id))
    made = OldServers(site, *ids)
    try:
        client.images.get(made.first_id).tag(IMAGE)
        made.play()
        made.join("alice")
        made.join("bob")
        client.images.get(made.second_id).tag(IMAGE)
        made.kept = made.play()
        made.join("carol")
        yield made
    finally:
        site.destroy()
        for tag in ("1", "build1", "build2"):
            client.images.remove(f"{NAME}/notebook:{tag}", force=True)


@pytest.fixture
def old(pushed_again: OldServers) -> OldServers:
    for name, image in (
        ("alice", pushed_again.first_id),
        ("bob", pushed_again.first_id),
        ("carol", pushed_again.second_id),
    ):
        pushed_again.use_image(name, image)
    return pushed_again


@pytest.fixture
def bob_works(old: OldServers) -> Iterator[None]:
    """Bob uses his server all the time."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            old.touch("bob")
            stop.wait(0.5)

    worker = threading.Thread(target=work)
    worker.start()
    yield
    stop.set()
    worker.join()


def until_idle(old: OldServers, name: str) -> None:
    """Wait until a server has been idle for longer than the limit, and the hub knows that."""
    # The hub hears of the last use from the proxy some seconds later, and takes it for longer ago until then.
    time.sleep(max(0.0, old.touched.get(name, 0.0) + IDLE_SECONDS + 1 - time.monotonic()))
    deadline = time.monotonic() + 4 * IDLE_SECONDS
    while by_user(old.module())[name]["idle_seconds"] <= IDLE_SECONDS:
        assert time.monotonic() < deadline
        time.sleep(1)


def test_site_yml_names_old_servers_and_keeps_them(old: OldServers) -> None:
    assert "notebook image content changed" in old.kept.output
    old_id = old.first_id.partition(":")[2][:12]
    for name in ("alice", "bob"):
        assert f"{name}: {IMAGE} ({old_id}), started " in " ".join(old.kept.output.split())
        assert old.image_of(name) == old.first_id
    assert "kept (the next start uses the new image)" in " ".join(old.kept.output.split())
    assert old.image_of("carol") == old.second_id


def test_servers_are_listed_with_image_age_and_last_activity(old: OldServers) -> None:
    old.touch("bob")
    result = old.module()
    assert result["changed"] is False
    found = by_user(result)
    assert {name: server["current"] for name, server in found.items()} == {"alice": False, "bob": False, "carol": True}
    assert [server["user"] for server in result["old"]] == ["alice", "bob"]
    alice = found["alice"]
    assert alice["server"] == ""
    assert alice["container"] == f"{NAME}-jupyter-alice"
    assert (alice["image"], alice["image_id"], alice["state"]) == (IMAGE, old.first_id, "ready")
    assert 0 < alice["idle_seconds"] <= alice["age_seconds"]
    # An image that is still offered is not old.
    assert old.module(notebook_images=[old.first_id])["old"] == []


@pytest.mark.parametrize("check", [False, pytest.param(True, marks=pytest.mark.long)])
def test_status_yml_shows_it_and_changes_nothing(old: OldServers, check: bool) -> None:
    done = old.play(playbook="status.yml", check=check)
    assert done.recap["changed"] == 0
    assert f"hub: {NAME} runs for " in done.output
    assert f"proxy: {NAME}-proxy runs for " in done.output, done.output
    assert "3 servers run, 2 on an old image\n" in done.output
    rows = {line.split()[0]: line.split() for line in done.output.splitlines() if " ago" in line and IMAGE in line}
    assert {name: row[4] for name, row in rows.items()} == {"alice": "old", "bob": "old", "carol": "current"}


def test_status_yml_fails_if_something_has_to_be_fixed(old: OldServers) -> None:
    guard = old.site.client.containers.get(f"{NAME}-guard")
    guard.stop()
    try:
        output = old.play(playbook="status.yml", fails=True).output
    finally:
        guard.start()
    last = output.partition("Fix this; docs/how-to/status.md says how:\n")[2]
    assert f"- NOT GUARDED: {NAME}-guard does not keep the rules of the isolation; run make site" in last
    assert "3 servers run, 2 on an old image\n" in output


def test_check_mode_reports_what_would_be_stopped_and_stops_nothing(old: OldServers, bob_works: None) -> None:
    until_idle(old, "alice")
    result = old.module(policy="stop-idle", idle_seconds=IDLE_SECONDS, check=True)
    assert result["changed"] is True
    actions = {name: server["action"] for name, server in by_user(result).items()}
    assert actions == {"alice": "would_stop", "bob": "kept", "carol": "kept"}
    assert old.module(policy="stop", check=True)["changed"] is True
    assert old.image_of("alice") == old.first_id


def test_a_server_that_is_used_again_after_it_was_listed_is_kept(old: OldServers, bob_works: None) -> None:
    until_idle(old, "alice")
    api = hub_api.connect(old.site.client.api, NAME, str(old.secrets / "api_token"))
    listed = [one for one in servers.observe(old.site.client.api, api, NAME, {old.second_id}) if one["user"] == "alice"]
    old.touch("alice")
    options = servers.StopOptions("stop-idle", IDLE_SECONDS, timeout=30)
    (alice,) = servers.apply(old.site.client.api, api, listed, options, check=False)
    assert (alice["action"], alice["reason"]) == ("kept", f"it was active {alice['idle_seconds']} s ago")
    assert alice["idle_seconds"] < IDLE_SECONDS
    assert old.image_of("alice") == old.first_id


def test_a_server_that_is_computing_is_kept(old: OldServers, bob_works: None) -> None:
    container = old.site.client.containers.get(f"{NAME}-jupyter-alice")
    until_idle(old, "alice")
    container.exec_run(["sh", "-c", "echo $$ > /tmp/pid; while :; do :; done"], detach=True)
    try:
        alice = by_user(old.module(policy="stop-idle", idle_seconds=IDLE_SECONDS))["alice"]
    finally:
        assert container.exec_run(["sh", "-c", "kill $(cat /tmp/pid)"]).exit_code == 0
    assert alice["action"] == "kept"
    assert alice["reason"].startswith("it is computing: ")
    assert old.image_of("alice") == old.first_id


def test_stop_idle_stops_exactly_the_idle_one(old: OldServers, bob_works: None) -> None:
    before = {name: old.site.container(f"jupyter-{name}")["Id"] for name in ("bob", "carol")}
    until_idle(old, "alice")
    result = old.module(policy="stop-idle", idle_seconds=IDLE_SECONDS)
    assert result["changed"] is True, result["messages"]
    actions = {name: server["action"] for name, server in by_user(result).items()}
    assert actions == {"alice": "stopped", "bob": "kept", "carol": "kept"}
    assert old.image_of("alice") is None
    assert before == {name: old.site.container(f"jupyter-{name}")["Id"] for name in ("bob", "carol")}
    # The hub knows it: no user is sent to a server that does not exist.
    me = old.users["alice"].me()
    assert me is not None
    assert me["servers"] == {}


def test_the_next_start_uses_the_new_image(old: OldServers) -> None:
    old.users["alice"].stop("alice")
    old.users["alice"].spawn("alice")
    assert old.image_of("alice") == old.second_id
    assert by_user(old.module())["alice"]["current"] is True


def test_a_refused_token_stops_no_server_and_is_reported(
    old: OldServers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "api_token").write_text("f" * 64)
    with pytest.raises(ModuleError, match="refuses the token of its service `deploy`"):
        old.module(policy="stop", token_file=str(tmp_path / "api_token"))
    listed = old.module(token_file=str(tmp_path / "api_token"))
    # In a process in which some other test has loaded Ansible's controller, a warning is printed instead.
    assert "refuses the token" in f"{listed.get('warnings')}{capsys.readouterr().err}"
    assert [(one["user"], one["state"], one["last_activity"]) for one in listed["old"]] == [
        ("alice", "unknown", None),
        ("bob", "unknown", None),
    ]
    assert old.image_of("bob") == old.first_id


def test_site_yml_stops_the_rest_and_keeps_a_server_that_the_hub_does_not_know(old: OldServers) -> None:
    # As after the hub's database was replaced: a container with our labels that the hub does not know.
    labels = {"org.jupyterhub.deploy.hub": NAME, "org.jupyterhub.deploy.user": "zoe@example.com"}
    stranger = old.site.client.containers.run(
        old.first_id, ["sleep", "600"], name=f"{NAME}-jupyter-zoe", labels=labels, detach=True
    )
    done = old.play("--tags", "hub", jupyterhub_old_servers="stop")
    told = " ".join(done.output.split())
    assert "stopped (it has an old image)" in told
    assert "kept (the hub does not know this server (was its database replaced?)" in told
    assert [old.image_of(name) for name in ("alice", "bob", "carol")] == [None, None, old.second_id]
    stranger.reload()
    assert stranger.status == "running"
    stranger.remove(force=True)
    again = old.play("--tags", "hub", jupyterhub_old_servers="stop")
    assert again.recap["changed"] == 0
    assert (
        "skipping"
        in again.output.partition("TASK [jupyterhub : Check servers on an old image or URL]")[2].splitlines()[1]
    )


@pytest.mark.long
def test_a_stopped_hub_is_reported_and_its_servers_are_listed(old: OldServers) -> None:
    hub = old.site.client.containers.get(NAME)
    hub.stop()
    try:
        status = run(jupyterhub_status, name=NAME, token_file=str(old.secrets / "api_token"))
        assert f"hub: {NAME} is exited, from " in "\n".join(status["messages"])
        assert f"the hub container {NAME} is not running" in "\n".join(status["messages"])
        assert [server["state"] for server in status["servers"]] == ["unknown"] * 3
    finally:
        hub.start()
        while not _answers(f"{old.site.url}/hub/health"):
            time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def test_the_token_is_in_no_container_and_in_no_log(old: OldServers) -> None:
    shown = json.dumps([old.site.container(part) for part in ("", "proxy", "jupyter-carol")])
    old.check(shown + old.site.logs())


def test_a_backup_of_a_volume_at_rest_has_the_hub_stop_its_server(old: OldServers) -> None:
    asked = {"jupyterhub_backup_volumes": [f"{NAME}-user-carol"], "jupyterhub_backup_hub_state": False}
    done = old.play(playbook="backup.yml", jupyterhub_backup_consistency="stopped", **asked)

    assert f"{NAME}-jupyter-carol: stopped for its backup" in done.output
    assert old.image_of("carol") is None
    (manifest,) = Path("/var/backups", NAME, f"{NAME}-user-carol").glob("*.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["consistency"] == "stopped"


@pytest.mark.usefixtures("local_docker")
def test_status_yml_on_a_host_without_that_hub() -> None:
    done = LocalSite(run_name("no-such-hub")).run(playbook="status.yml")
    shown = " ".join(done.output.split())  # Ansible wraps a message of one line
    assert f"Hub {run_name('no-such-hub')} does not exist on this host; run make site to create it." in shown
    assert done.recap["changed"] == 0
