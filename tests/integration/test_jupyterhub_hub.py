"""The hub's life on a real engine: created, left alone, replaced, taken back, and never taken by a stranger."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import docker
import jinja2
import pytest
import requests

import jupyterhub_hub
import jupyterhub_secrets
from modules import ModuleError, run

ROOT = Path(__file__).resolve().parents[2]
NAME = "jhd-test-hub"
KILLED_RUN = str(ROOT / "tests" / "killed_run.py")
# Only for NativeAuthenticator's sign-up form, never for an account that lives longer than a test.
STRANGERS_PASSWORD = "let-me-in-please"


class Site:
    """A hub and its proxy as role `jupyterhub` makes them, under a name of this test's own."""

    def __init__(self, engine, hub_image, proxy_image, notebook_image, config_dir):
        self.engine, self.image, self.proxy_image, self.notebook_image = engine, hub_image, proxy_image, notebook_image
        self.config_dir = config_dir
        self.extra_config = ""
        self.url = ""
        self.first: dict[str, Any] = {}  # what the module returned when it made the hub
        self.strangers_pages = 0  # answers that a stranger got meanwhile to signing up as admin

    def prepare(self):
        run(jupyterhub_secrets, path=f"{self.config_dir}/secrets")
        self.engine.networks.create(f"{NAME}-network")
        self.engine.networks.create(f"{NAME}-control")
        self.engine.volumes.create(f"{NAME}-data")
        self.proxy = self.engine.containers.create(
            self.proxy_image,
            name=f"{NAME}-proxy",
            network=f"{NAME}-network",
            ports={"8000/tcp": ("127.0.0.1", None)},
            environment={"PROXY_API_HOST": f"{NAME}-proxy-api"},
            volumes=[f"{self.config_dir}/secrets/proxy_token:/etc/jupyterhub/secrets/proxy_token:ro"],
        )
        self.engine.networks.get(f"{NAME}-control").connect(self.proxy, aliases=[f"{NAME}-proxy-api"])
        self.proxy.start()
        self.proxy.reload()
        self.url = f"http://127.0.0.1:{self.proxy.ports['8000/tcp'][0]['HostPort']}"

    def arguments(self):
        template = jinja2.Template((ROOT / "roles/jupyterhub/templates/jupyterhub_config.py.j2").read_text())
        settings = {
            "name": NAME,
            "server_prefix": f"{NAME}-jupyter",
            "volume_prefix": f"{NAME}-user-",
            "public_url": "",
            "authenticators": ["native"],
            "native": {
                "signup": "open",
                "minimum_password_length": 8,
                "check_common_password": True,
                "failed_logins": 5,
                "lockout_seconds": 600,
            },
            "proxy_api_url": f"http://{NAME}-proxy-api:8001",
        }
        return {
            "name": NAME,
            "image": self.image,
            "environment": {
                "DOCKER_NOTEBOOK_IMAGE": self.notebook_image,
                "DOCKER_NETWORK_NAME": f"{NAME}-network",
                "DOCKER_NOTEBOOK_DIR": "/home/jovyan/work",
                "JUPYTERHUB_ADMIN": "admin",
            },
            "config_dir": self.config_dir,
            "config_files": {
                "jupyterhub_config.py": template.render(jupyterhub_extra_config=self.extra_config),
                "settings.json": json.dumps(settings),
            },
            "data_volume": f"{NAME}-data",
            "networks": [f"{NAME}-control", f"{NAME}-network"],
            "public_probe": f"{self.url}/hub/health",
            "health_timeout": 60,
        }

    def run(self, **options):
        return run(jupyterhub_hub, **self.arguments(), **options)

    def hub(self):
        """Identity and start time of the hub that runs, and whether it answers users."""
        container = self.engine.containers.get(NAME)
        answered = requests.get(f"{self.url}/hub/health", timeout=10).status_code
        return container.id, container.attrs["State"]["StartedAt"], answered

    def names(self):
        return sorted(c.name for c in self.engine.containers.list(all=True) if c.name.startswith(NAME))

    def admin_password(self):
        return Path(self.config_dir, "secrets", "admin_password").read_text().strip()

    def sign_in(self, name, password):
        """Sign in by the form; return the session, or None when refused."""
        session = requests.Session()
        page = session.get(f"{self.url}/hub/login", timeout=10)
        form = {"username": name, "password": password, "_xsrf": session.cookies.get("_xsrf", path="/hub/")}
        assert page.ok
        session.post(f"{self.url}/hub/login", data=form, timeout=30, allow_redirects=False)  # or a server is spawned
        return session if session.get(f"{self.url}/hub/home", timeout=10).url.endswith("/hub/home") else None


def clean(engine):
    for container in engine.containers.list(all=True):
        if container.name.startswith(NAME):
            container.remove(force=True, v=True)
    for volume in engine.volumes.list():
        if volume.name.startswith(NAME):
            volume.remove(force=True)
    for network in engine.networks.list():
        if network.name.startswith(NAME):
            network.remove()


def sign_up_as_admin(url, until):
    """Try to register as admin, in several spellings, from before the hub exists; count the pages that answered."""
    pages = 0
    while not until.is_set():
        for name in ("admin", "Admin", " admin", "ADMIN "):
            session = requests.Session()
            try:
                session.get(f"{url}/hub/signup", timeout=5)
                form = {
                    "username": name,
                    "signup_password": STRANGERS_PASSWORD,
                    "signup_password_confirmation": STRANGERS_PASSWORD,
                    "_xsrf": session.cookies.get("_xsrf", path="/hub/"),
                }
                pages += session.post(f"{url}/hub/signup", data=form, timeout=5).status_code == 200
            except requests.RequestException:
                continue
        time.sleep(0.05)
    return pages


@pytest.fixture(scope="module")
def site(hub_image, proxy_image, notebook_image, tmp_path_factory):
    """A hub that runs, born while a stranger tried to register as its admin from before its first second."""
    client = docker.from_env()
    clean(client)
    directory = str(tmp_path_factory.mktemp("etc"))
    made = Site(client, hub_image("5.5.4"), proxy_image, notebook_image("5.5.4"), directory)
    made.prepare()
    stop = threading.Event()
    pages: list[int] = []
    stranger = threading.Thread(target=lambda: pages.append(sign_up_as_admin(made.url, stop)))
    stranger.start()
    try:
        made.first = made.run()
        time.sleep(2)
    finally:
        stop.set()
        stranger.join()
    made.strangers_pages = pages[0]
    yield made
    clean(client)


def test_the_first_run_creates_a_hub_that_answers(site):
    assert site.first["action"] == "create"
    assert site.first["changed"]
    assert site.first["downtime"] > 0
    assert site.hub()[2] == 200


def test_a_stranger_who_signs_up_as_admin_gains_nothing_from_the_first_second_on(site):
    assert site.strangers_pages > 0, "the stranger never reached the sign-up form, so this shows nothing"
    assert site.sign_in("admin", STRANGERS_PASSWORD) is None
    admin = site.sign_in("admin", site.admin_password())
    assert admin
    assert admin.get(f"{site.url}/hub/admin", timeout=10).status_code == 200


def test_a_second_run_leaves_the_hub_alone(site):
    before = site.hub()
    result = site.run()
    assert (result["changed"], result["action"], result["reasons"], result["diff"]) == (False, "none", [], [])
    assert site.hub() == before


def test_upstreams_names_and_environment(site):
    container = site.engine.containers.get(NAME)
    environment = dict(entry.partition("=")[::2] for entry in container.attrs["Config"]["Env"])
    assert environment["DOCKER_NOTEBOOK_IMAGE"] == site.notebook_image
    assert environment["DOCKER_NETWORK_NAME"] == f"{NAME}-network"
    assert b"JupyterHub" in container.logs()


def test_the_hub_has_no_right_that_it_does_not_need(site):
    host = site.engine.containers.get(NAME).attrs["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]


def test_a_hub_restarted_by_hand_is_left_alone(site):
    site.engine.containers.get(NAME).restart()
    before = site.engine.containers.get(NAME).attrs["State"]["StartedAt"]
    assert site.run()["action"] == "none"
    assert site.hub()[1] == before


def test_check_mode_tells_and_touches_nothing(site):
    before, configs = site.hub(), sorted(Path(site.config_dir).iterdir())
    site.extra_config = "c.JupyterHub.allow_named_servers = True"
    try:
        result = site.run(check=True, diff=True)
    finally:
        site.extra_config = ""
    assert result["changed"]
    assert result["action"] == "replace"
    assert result["reasons"][0].startswith("configuration changed: ")
    shown = next(entry for entry in result["diff"] if entry["after_header"] == "jupyterhub_config.py")
    assert "allow_named_servers" in shown["after"]
    assert "allow_named_servers" not in shown["before"]
    assert site.hub() == before
    assert sorted(Path(site.config_dir).iterdir()) == configs


def test_a_stopped_hub_is_started(site):
    site.engine.containers.get(NAME).stop()
    result = site.run()
    assert (result["action"], result["reasons"]) == ("start", ["the hub container is stopped"])
    assert site.hub()[2] == 200


def test_a_new_configuration_replaces_the_hub_and_sessions_stay(site):
    session, (old, _, _) = site.sign_in("admin", site.admin_password()), site.hub()
    site.extra_config = "c.JupyterHub.allow_named_servers = True"
    try:
        result = site.run()
        assert result["action"] == "replace"
        assert len(result["reasons"]) == 1
        assert site.hub()[0] != old
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.names() == [NAME, f"{NAME}-proxy"]
    finally:
        site.extra_config = ""
        site.run()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("c.JupyterHub.allow_named_server = True", "allow_named_servers"),
        ("c.JupyterHub.allow_named_servers = 'perhaps'", "allow_named_servers"),
        ("1 / 0", "ZeroDivisionError"),
    ],
    ids=["misspelt", "wrong type", "raises"],
)
def test_a_configuration_that_does_not_load_leaves_the_running_hub_alone(site, extra, said):
    before = site.hub()
    site.extra_config = extra
    try:
        with pytest.raises(ModuleError) as caught:
            site.run()
    finally:
        site.extra_config = ""
    assert "so the hub was left as it was" in str(caught.value)
    assert said in str(caught.value)
    assert site.hub() == before
    assert site.names() == [NAME, f"{NAME}-proxy"]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            "import os\nif 'HOSTNAME' in os.environ and os.environ['HOSTNAME'] == '" + NAME + "':\n"
            "    raise SystemExit('the roof is on fire')",
            "the roof is on fire",
        ),
        ("c.ConfigurableHTTPProxy.api_url = 'http://nowhere.invalid:8001'", "its last log lines"),
    ],
    ids=["dies", "never reaches the proxy"],
)
def test_a_hub_that_fails_is_taken_back_with_its_log(site, extra, said):
    before = site.hub()
    site.extra_config = extra
    arguments = {**site.arguments(), "health_timeout": 25}
    site.extra_config = ""
    with pytest.raises(ModuleError) as caught:
        run(jupyterhub_hub, **arguments)
    assert "the one that ran before was put back" in str(caught.value)
    assert said in str(caught.value)
    assert site.engine.containers.get(NAME).id == before[0]
    assert site.names() == [NAME, f"{NAME}-proxy"]
    result = site.run()
    assert (result["action"], site.hub()[0]) == ("none", before[0])


def test_an_image_that_is_not_there_is_an_error_before_anything_is_touched(site):
    before = site.hub()
    with pytest.raises(ModuleError, match=r"image nowhere/hub:1 is not on this host"):
        run(jupyterhub_hub, **{**site.arguments(), "image": "nowhere/hub:1"})
    assert site.hub() == before


@pytest.mark.parametrize("left", ["next", "previous"])
def test_what_a_killed_run_left_is_put_right(site, left):
    """A kill before the swap leaves a successor; one in the middle of it leaves the old hub under its name aside."""
    container = site.engine.containers.get(NAME)
    if left == "next":
        site.engine.containers.create(site.image, name=f"{NAME}-next")
    else:
        container.stop()
        container.rename(f"{NAME}-previous")
    result = site.run()
    assert result["changed"]
    assert "left by an unfinished run" in result["reasons"][0]
    assert site.engine.containers.get(NAME).id == container.id
    assert site.hub()[2] == 200
    assert site.names() == [NAME, f"{NAME}-proxy"]


def revision(site):
    """The schema revision of the hub's database, read past the hub."""
    volume = site.engine.volumes.get(f"{NAME}-data").attrs["Mountpoint"]
    with sqlite3.connect(f"file:{volume}/jupyterhub.sqlite?mode=ro", uri=True) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


class TestUpgrade:
    """From JupyterHub 5.5 to 6.1, whose database schema is another, and what happens when that fails."""

    @pytest.fixture
    def old(self, site):
        """The hub on 5.5, and on its way out again whatever the test did."""
        session, schema = site.sign_in("admin", site.admin_password()), revision(site)
        yield session, schema, site.image
        site.extra_config = ""

    def test_a_new_version_that_fails_is_taken_back_with_the_database_as_it_was(self, site, hub_image, old):
        session, schema, image = old
        before = site.hub()[0]
        site.image = hub_image("6.1.1")
        site.extra_config = f"import os\nif os.uname().nodename == '{NAME}':\n    raise SystemExit('on fire')"
        with pytest.raises(ModuleError, match="the one that ran before was put back"):
            site.run()
        site.image, site.extra_config = image, ""
        assert site.hub()[::2] == (before, 200)
        assert revision(site) == schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.run()["action"] == "none"

    def test_a_run_killed_after_the_upgrade_goes_back_to_a_hub_with_all_data(self, site, hub_image, old, tmp_path):
        """The successor has upgraded the database, the old hub lies aside, and nobody is there to finish."""
        session, schema, image = old
        site.image = hub_image("6.1.1")
        arguments = tmp_path / "arguments.json"
        arguments.write_text(json.dumps(site.arguments()))
        for moment in range(1, 40):
            killed = subprocess.run(
                [sys.executable, KILLED_RUN, str(moment), arguments], capture_output=True, check=False
            )
            if f"{NAME}-previous" in site.names() and NAME in site.names():
                break
        assert killed.returncode == -signal.SIGKILL
        while revision(site) == schema:
            time.sleep(0.5)
        site.engine.containers.get(NAME).remove(force=True)
        site.image = image
        result = site.run()
        assert "left by an unfinished run" in " ".join(result["reasons"])
        assert revision(site) == schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")

    def test_the_database_goes_along_and_nobody_signs_in_again(self, site, hub_image, old):
        session, schema, image = old
        site.image = hub_image("6.1.1")
        result = site.run()
        assert result["action"] == "replace"
        assert revision(site) != schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.sign_in("admin", site.admin_password())
        assert site.run()["action"] == "none"

        # And the way back is refused, before anything is touched, with the copy that would be needed.
        before = site.hub()
        newer, site.image = site.image, image
        with pytest.raises(ModuleError, match=r"newer than this JupyterHub's .*jupyterhub\.sqlite\." + schema):
            site.run()
        site.image = newer
        assert site.hub() == before


def test_a_run_killed_at_any_step_is_put_right_by_the_next(site, tmp_path):
    """SIGKILL after each thing that a replacement does to the engine, one after the other."""
    arguments, moment = tmp_path / "arguments.json", 0
    while True:
        moment += 1
        site.extra_config = f"# {moment}"
        arguments.write_text(json.dumps(site.arguments()))
        done = subprocess.run(
            [sys.executable, KILLED_RUN, str(moment), arguments], capture_output=True, text=True, check=False
        )
        if done.returncode != -signal.SIGKILL:
            break
        site.run()
        assert site.hub()[2] == 200, f"after a kill at step {moment}"
        assert site.sign_in("admin", site.admin_password()), f"after a kill at step {moment}"
        assert site.names() == [NAME, f"{NAME}-proxy"], f"after a kill at step {moment}"
    assert moment > 10, f"a replacement takes more steps than {moment}: {done.stdout}{done.stderr}"
