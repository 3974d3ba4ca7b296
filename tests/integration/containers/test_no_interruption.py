"""A user works without interruption while an operator makes every kind of change by site.yml.

One hub, one user with one kernel and one open web socket, from the first test of the class to the last.
``poller`` requests the notebook twenty times a second during each change. A test changes the site as it is, and depends
on no test before it.

A notebook server caches the hub's answer about a cookie for five minutes, so a poll of minutes would hardly ever make
it ask the hub. A second user's server asks each second: as often as the servers of three hundred users together. And
a client in its container asks without a pause.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.asking import Asking
from support.hub_http import HubSession
from support.local_site import LocalSite, Run
from support.poller import Notebook, Poll, Report

NAME = run_name("work")
PASSWORD = "a-long-enough-passphrase-of-the-test"
#: Configuration with which the server of one user asks the hub each second about its cookie.
ASKS_EACH_SECOND = """
def ask_each_second(spawner):
    if spawner.user.name == "dora":
        spawner.args = ["--HubOAuth.cache_max_age=1"]

c.Spawner.pre_spawn_hook = ask_each_second
"""
HUB_TASK = "TASK [jupyterhub : Run the hub container]"
#: Upgrades the database, as a new JupyterHub does on its start, and then ends.
UPGRADES_AND_DIES = (
    "RUN echo 'def ensure_admin(): raise HubError(\"the roof is on fire\")' "
    ">> /opt/jupyterhub-deploy/jupyterhub_deploy_hub/seed.py"
)
DIES_AT_ONCE = (
    "RUN echo 'raise SystemExit(\"there is no roof\")' > /opt/jupyterhub-deploy/jupyterhub_deploy_hub/start.py"
)


class Change(NamedTuple):
    """A run of site.yml, and its effect on the user."""

    run: Run
    report: Report
    output: str  # of the hub's task


def connected(work: Workplace) -> bool:
    """Return whether the users could open their notebooks."""
    try:
        work.connect()
    except requests.HTTPError:
        return False
    return True


class Workplace:
    """The site with its two users: one of them has a server that asks the hub each second."""

    def __init__(self, site: LocalSite) -> None:
        self.site = site
        for name in ("alice", "dora"):
            user(site, name)
        self.connect()

    def connect(self) -> None:
        """Open the users' notebooks."""
        self.notebook, self.asking = (Notebook(signed_in(self.site, name), name) for name in ("alice", "dora"))
        self.kept = self.untouched()

    def untouched(self) -> list[tuple[str, str]]:
        """The containers that no change may restart: the proxy and the users' servers."""
        return [self.started(part) for part in ("proxy", "jupyter-alice", "jupyter-dora")]

    def started(self, part: str = "") -> tuple[str, str]:
        """Identity and start time of a container."""
        container = self.site.container(part)
        return container["Id"], container["State"]["StartedAt"]

    def config(self) -> str:
        """Return the digest of the configuration that the hub runs with."""
        return str(self.site.container()["Config"]["Labels"]["org.jupyterhub.deploy.config"])

    def log_of_dora(self) -> str:
        """Return the end of the log of the server that asks the hub, which says why a question failed."""
        container = self.site.client.containers.get(f"{NAME}-jupyter-dora")
        return str(container.logs(tail=40).decode(errors="replace"))

    def log_of_proxy(self) -> str:
        """Return the end of the proxy's log, which says why it answered 503."""
        return str(self.site.client.containers.get(f"{NAME}-proxy").logs(tail=40).decode(errors="replace"))

    def schema(self) -> str:
        """Return the schema revision of the hub's database, read directly from the file."""
        volume = self.site.client.volumes.get(f"{NAME}-data").attrs["Mountpoint"]
        with sqlite3.connect(f"file:{volume}/jupyterhub.sqlite?mode=ro", uri=True) as database:
            return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])

    def change(
        self, *, fails: bool = False, hub_fails: bool = False, playbook: str = "site.yml", **settings: Any
    ) -> Change:
        """Run a playbook while the users work without interruption. Settings of a successful change are kept.

        With `hub_fails` no hub serves for seconds; then only the user with a cached answer continues to work.
        """
        with Poll(self.notebook) as poll, Poll(self.asking) as asking, Asking(f"{NAME}-jupyter-dora") as always:
            run = self.site.run("-v", playbook=playbook, fails=fails, **settings)
        if not fails:
            self.site.settings.update(settings)
        output = run.output.partition(HUB_TASK)[2].partition("\nTASK [")[0]
        print(poll.report)
        assert poll.report.uninterrupted, f"{poll.report}\n{run.output}"
        assert hub_fails or asking.report.uninterrupted, f"{asking.report}\n{run.output}\n{self.log_of_dora()}"
        assert hub_fails or list(always.answers) == ["200"], f"{always.answers}\n{run.output}\n{self.log_of_proxy()}"
        assert self.untouched() == self.kept
        assert [name for name in self.site.containers() if "-jupyter-" not in name] == [
            NAME,
            f"{NAME}-front",
            f"{NAME}-guard",
            f"{NAME}-proxy",
        ]
        return Change(run, poll.report, output)

    def replace(self, reason: str, **settings: Any) -> Change:
        """Change something that needs a new hub, and print the times."""
        hub = self.started()
        change = self.change(**settings)
        assert reason in change.output
        assert self.started()[0] != hub[0]
        assert change.report.hub_sent > 0
        down, start = _number("downtime", change.output), _number("start_seconds", change.output)
        seen = f"from outside {change.report.hub_down:.1f} s, and {change.report.hub_wait:.1f} s of waiting"
        print(f"{reason}{down} s without a hub, {seen}; its start took {start} s")
        assert down > 0
        assert start > 0
        return change

    def fail(self, message: str, **settings: Any) -> Change:
        """Change something that makes the new hub fail; the old one still serves, or serves again (`hub_fails`)."""
        before, config, schema = self.started()[0], self.config(), self.schema()
        change = self.change(fails=True, **settings)
        assert change.run.recap["failed"] == 1
        assert message in change.output
        assert (self.started()[0], self.config(), self.schema()) == (before, config, schema)
        assert sign_in(self.site, "carol"), "a user who signed up before the failure is unknown after it"
        return change


def _number(key: str, output: str) -> float:
    found = re.search(rf"^ +{key}: ([0-9.]+)$", output, re.MULTILINE)
    assert found, f"no {key} in:\n{output}"
    return float(found[1])


def sign_in(site: LocalSite, name: str) -> HubSession | None:
    """Sign a user in; None when the hub refuses."""
    session = HubSession(site.url)
    return session if session.sign_in(name, PASSWORD) else None


def signed_in(site: LocalSite, name: str) -> HubSession:
    """Sign in a user that the hub has to know."""
    session = sign_in(site, name)
    assert session
    return session


def user(site: LocalSite, name: str) -> HubSession:
    """Sign a new user up and in."""
    HubSession(site.url).sign_up(name, PASSWORD)
    return signed_in(site, name)


def image_of(site: LocalSite, name: str) -> str:
    """Return the id of the image that a user's server runs."""
    return str(site.container(f"jupyter-{name}")["Image"])


class Images:
    """Images a layer away from the project's own, with names of this test's own."""

    def __init__(self) -> None:
        self.built: set[str] = set()

    def build(self, name: str, base: str, line: str) -> str:
        """Build an image on another with one more line in its Dockerfile; return its id."""
        self.built.add(f"{NAME}/{name}")
        done = subprocess.run(
            ["docker", "build", "--quiet", "--tag", f"{NAME}/{name}", "-"],
            input=f"FROM {base}\n{line}\n", check=True, text=True, capture_output=True,
        )  # fmt: skip
        return done.stdout.strip()

    def remove(self) -> None:
        """Remove them all."""
        for name in self.built:
            subprocess.run(["docker", "rmi", "--force", name], check=False, capture_output=True)


@pytest.fixture(scope="class")
def images() -> Iterator[Images]:
    """Images of this test's own, removed in the end."""
    made = Images()
    yield made
    made.remove()


@pytest.fixture(scope="class")
def work(built_images: Callable[[str], dict[str, Any]], images: Images) -> Iterator[Workplace]:
    """A hub on JupyterHub 5.5 with a user at work, another whose server runs, and one who has signed up and no more."""
    images.build("notebook:one", built_images("5.5.4")["notebook"], "LABEL test=1")
    site = LocalSite(
        NAME,
        jupyterhub_version="5.5.4",
        jupyterhub_notebook_image=f"{NAME}/notebook:one",
        jupyterhub_extra_config=ASKS_EACH_SECOND,
    )
    site.destroy()  # what a run that was killed left
    try:
        site.run()
        user(site, "carol")
        user(site, "bob").spawn("bob")
        yield Workplace(site)
    finally:
        site.destroy()


class TestNoInterruption:
    """Every kind of change, those that fail among them."""

    def test_a_run_with_nothing_to_do_restarts_nothing(self, work: Workplace) -> None:
        """Nor a hub that was restarted by hand."""
        with Poll(work.notebook) as poll:
            work.site.client.containers.get(NAME).restart()
            assert wait_until(lambda: requests.get(f"{work.site.url}/hub/health", timeout=30).ok, 60)
        assert poll.report.uninterrupted, poll.report
        assert poll.report.hub_down > 0
        hub = work.started()
        run = work.change().run
        assert run.recap["changed"] == 0, run.output
        assert work.started() == hub

    def test_a_new_configuration(self, work: Workplace) -> None:
        config = f"{ASKS_EACH_SECOND}c.JupyterHub.allow_named_servers = True"
        work.replace("configuration changed: ", jupyterhub_extra_config=config)

    @pytest.mark.long
    def test_new_content_under_the_notebook_image_tag(self, work: Workplace, images: Images) -> None:
        before = image_of(work.site, "alice")
        tag = work.site.settings["jupyterhub_notebook_image"].partition("/")[2]
        images.build(tag, work.site.container("jupyter-alice")["Image"], "LABEL test=2")
        work.replace("notebook image content changed: ")
        assert image_of(work.site, "alice") == before

    @pytest.mark.long
    def test_another_notebook_image_is_for_the_next_start(self, work: Workplace, images: Images) -> None:
        site, before = work.site, image_of(work.site, "bob")
        two = images.build("notebook:two", before, "LABEL test=3")
        work.replace("notebook image name changed: ", jupyterhub_notebook_image=f"{NAME}/notebook:two")
        assert image_of(site, "bob") == before
        carol, bob = signed_in(site, "carol"), signed_in(site, "bob")
        with Poll(work.notebook) as poll:
            carol.spawn("carol")
            assert image_of(site, "carol") == two
            carol.stop("carol")
            bob.stop("bob")
            bob.spawn("bob")
            assert image_of(site, "bob") == two
            bob.stop("bob")
        assert poll.report.uninterrupted, poll.report
        assert image_of(site, "alice") == before

    @pytest.mark.long
    def test_a_configuration_that_does_not_load(self, work: Workplace) -> None:
        hub = work.started()
        change = work.fail("so the hub was left as it was", jupyterhub_extra_config="c.JupyterHub.hub_prot = 1")
        assert work.started() == hub
        assert change.report.hub_down == 0

    def test_a_hub_that_dies_at_once(self, work: Workplace, images: Images, hub_image: Callable[[str], str]) -> None:
        images.build("hub:dies-at-once", hub_image("6.1.1"), DIES_AT_ONCE)
        change = work.fail("the new hub does not start", jupyterhub_hub_image=f"{NAME}/hub:dies-at-once")
        assert "there is no roof" in change.output
        assert change.report.hub_down == 0

    @pytest.mark.long
    def test_a_hub_that_never_becomes_healthy(self, work: Workplace) -> None:
        work.fail(
            "the old one was restored",
            hub_fails=True,
            jupyterhub_extra_config="from jupyterhub import proxy\nproxy.ConfigurableHTTPProxy.get_all_routes = None",
            jupyterhub_health_timeout=20,
        )
        # The failure leaves nothing to do.
        hub = work.started()
        assert work.change().run.recap["changed"] == 0
        assert work.started() == hub

    @pytest.mark.long
    def test_the_next_jupyterhub_and_its_database(
        self, work: Workplace, images: Images, built_images: Callable[[str], dict[str, Any]]
    ) -> None:
        """It fails once after it has upgraded the database. The user's server keeps JupyterHub 5.5, and runs on."""
        images.build("hub:dies", built_images("6.1.1")["hub"], UPGRADES_AND_DIES)
        change = work.fail("the old one was restored", hub_fails=True, jupyterhub_hub_image=f"{NAME}/hub:dies")
        assert "the roof is on fire" in change.output

        schema = work.schema()
        work.replace("hub image name changed: ", playbook="upgrade.yml", jupyterhub_version="6.1.1")
        assert work.schema() != schema
        assert sign_in(work.site, "carol")

    def test_the_poll_detects_an_interruption(self, work: Workplace) -> None:
        """The proxy is away for a moment: a poll that misses that would prove nothing above."""
        with Poll(work.notebook) as poll:
            work.site.client.containers.get(f"{NAME}-proxy").restart(timeout=0)
            time.sleep(0.5)
        # The servers reach the hub through the proxy, too; a request that needs the hub at this moment fails.
        assert wait_until(lambda: connected(work), 60)
        assert not poll.report.uninterrupted
        assert poll.report.failed > 0
        assert poll.report.kept_failed > 0
        assert poll.report.longest_gap > 0
        assert poll.report.socket
