"""The hub on real Docker: created, kept, replaced, rolled back, and never taken over by a stranger."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.containers.container import address_of
from ansible.module_utils.jupyterhub_deploy.containers.hub import HubContainer
from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import HUB_PORT
from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_container
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

import jupyterhub_hub
from hosts.run import name as run_name
from support.hub_settings import hub_settings
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError, run

NAME = run_name("hub")
NEVER = 10**6  # a change to Docker that no run gets to
# Only for NativeAuthenticator's sign-up form, never for an account that lives longer than a test.
STRANGERS_PASSWORD = "let-me-in-please"


class FirstSite(ModuleSite):
    """A site that remembers its first minute.

    Attributes:
        first: what the module returned when it made the hub.
        strangers_pages: answers that a stranger got meanwhile to signing up as admin.
    """

    first: dict[str, Any]
    strangers_pages: int


def sign_up_as_admin(url, until, pages):
    """Try to register as admin, in several spellings, from before the hub exists; record each answer."""
    while not until.is_set():
        for name in ("admin", "Admin", " admin", "ADMIN "):
            session = requests.Session()
            try:
                # Without a hub, the proxy may take a while to notice that.
                session.get(f"{url}/hub/signup", timeout=1)
                form = {
                    "username": name,
                    "signup_password": STRANGERS_PASSWORD,
                    "signup_password_confirmation": STRANGERS_PASSWORD,
                    "_xsrf": session.cookies.get("_xsrf", path="/hub/"),
                }
                answer = session.post(f"{url}/hub/signup", data=form, timeout=5)
            except requests.RequestException:
                continue
            if answer.status_code == 200:
                pages.append(name)
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(hub_image, proxy_image, notebook_image, front_image, tmp_path_factory):
    """A running hub, created while a stranger tried to register as its admin."""
    directory = str(tmp_path_factory.mktemp("etc"))
    made = FirstSite(NAME, hub_image("5.5.4"), proxy_image, notebook_image("5.5.4"), front_image, directory)
    made.destroy()
    made.prepare()
    made.run_proxy()
    stop = threading.Event()
    pages: list[str] = []
    stranger = threading.Thread(target=sign_up_as_admin, args=(made.url, stop, pages))
    stranger.start()
    try:
        made.first = made.run_hub()
        deadline = time.monotonic() + 60
        while len(set(pages)) < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        stranger.join()
    made.strangers_pages = len(pages)
    yield made
    made.destroy()


def test_the_first_run_creates_a_hub_that_answers(site):
    assert site.first["action"] == "create"
    assert site.first["changed"]
    assert site.first["downtime"] > 0
    assert site.observe()[2] == 200


def test_a_stranger_cannot_sign_up_as_admin_from_the_first_second_on(site):
    assert site.strangers_pages > 0, "the stranger never reached the sign-up form, so this shows nothing"
    assert site.sign_in("admin", STRANGERS_PASSWORD) is None
    admin = site.sign_in("admin", site.admin_password())
    assert admin
    assert admin.get(f"{site.url}/hub/admin", timeout=10).status_code == 200


def test_a_second_run_changes_nothing(site):
    before = site.observe()
    result = site.run_hub()
    assert (result["changed"], result["action"], result["reasons"], result["diff"]) == (False, "none", [], [])
    assert site.observe() == before


@pytest.mark.parametrize("stopped", [False, True])
def test_edited_configuration_files_are_restored(site, stopped):
    (directory,) = (path for path in Path(site.config_dir).glob("config-*") if path.name in str(mounts(site)))
    path = directory / "jupyterhub_config.py"
    installed = path.read_text()
    path.write_text(installed + "this is (broken\n")
    if stopped:
        site.client.containers.get(NAME).restart(timeout=1)  # it cannot load its configuration now

    assert site.run_hub(check=True)["changed"]
    result = site.run_hub()
    assert (result["action"], result["reasons"]) == ("replace", ["the configuration files on the host were edited"])
    assert path.read_text() == installed
    assert site.observe()[2] == 200
    assert not site.run_hub()["changed"]


def mounts(site):
    """Return the directories of the host that the hub sees."""
    return [mount["Source"] for mount in site.client.containers.get(NAME).attrs["Mounts"]]


def test_upstreams_names_and_environment(site):
    container = site.client.containers.get(NAME)
    environment = dict(entry.partition("=")[::2] for entry in container.attrs["Config"]["Env"])
    assert environment["DOCKER_NOTEBOOK_IMAGE"] == site.notebook_image
    assert environment["DOCKER_NETWORK_NAME"] == f"{NAME}-network"
    assert b"JupyterHub" in container.logs()


def test_the_hub_has_only_the_rights_that_it_needs(site):
    host = site.client.containers.get(NAME).attrs["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]


def test_a_hub_restarted_by_hand_is_kept(site):
    site.client.containers.get(NAME).restart()
    before = site.client.containers.get(NAME).attrs["State"]["StartedAt"]
    assert site.run_hub()["action"] == "none"
    assert site.observe()[1] == before


def test_check_mode_reports_and_changes_nothing(site):
    before, configs = site.observe(), sorted(Path(site.config_dir).iterdir())
    site.extra_config = "c.JupyterHub.allow_named_servers = True"
    try:
        result = site.run_hub(check=True, diff=True)
        site.extra_config = "c.JupyterHub.allow_named_server = True"
        with pytest.raises(ModuleError, match="so the hub was left as it was"):
            site.run_hub(check=True)
    finally:
        site.extra_config = ""
    assert result["changed"]
    assert result["action"] == "replace"
    assert result["reasons"][0].startswith("configuration changed: ")
    shown = next(entry for entry in result["diff"] if entry["after_header"] == "jupyterhub_config.py")
    assert "allow_named_servers" in shown["after"]
    assert "allow_named_servers" not in shown["before"]
    assert site.observe() == before
    assert sorted(Path(site.config_dir).iterdir()) == configs


def test_a_stopped_hub_is_started(site):
    site.client.containers.get(NAME).stop()
    result = site.run_hub()
    assert (result["action"], result["reasons"]) == ("start", ["the hub container is stopped"])
    assert site.observe()[2] == 200


def test_a_new_configuration_replaces_the_hub_and_sessions_stay(site):
    session, (old, _, _) = site.sign_in("admin", site.admin_password()), site.observe()
    site.extra_config = "c.JupyterHub.allow_named_servers = True"
    try:
        result = site.run_hub()
        assert result["action"] == "replace"
        assert len(result["reasons"]) == 1
        assert site.observe()[0] != old
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.names() == ["", "-proxy"]

        # Docker starts the new hub again after a crash, and after a reboot, unless it counts as stopped by hand.
        hub = site.client.containers.get(NAME)
        os.kill(hub.attrs["State"]["Pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while site.client.containers.get(NAME).attrs["RestartCount"] == 0 or site.observe()[2] != 200:
            assert time.monotonic() < deadline, "Docker did not start it"
            time.sleep(0.2)
        assert site.observe()[0] == hub.id
    finally:
        site.extra_config = ""
        site.run_hub()


def test_new_limits_name_the_servers_that_keep_theirs(site):
    alice, others = site.notebook("alice"), []
    kept = f"servers that run keep their limits until they are stopped: {NAME}-jupyter-alice"
    try:
        site.settings = {"limits": {**hub_settings(NAME)["limits"], "pids": 2048}}
        for check in (True, False):
            assert site.run_hub(check=check)["messages"][-1] == kept
        site.extra_config = "c.JupyterHub.allow_named_servers = True"
        others += site.run_hub()["messages"]
    finally:
        alice.session.stop("alice")
        site.extra_config, site.settings = "", {}
        others += site.run_hub()["messages"]
    assert "keep their limits" not in str(others)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("c.JupyterHub.allow_named_server = True", "allow_named_servers"),
        ("c.JupyterHub.allow_named_servers = 'perhaps'", "allow_named_servers"),
        ("1 / 0", "ZeroDivisionError"),
        ("c.JupyterHub.db_url = 'sqlite:////data/other.sqlite'", "only know the deployment's own database"),
        ("c.JupyterHub.base_url = '/jupyter/'", "use the hub without a path"),
    ],
    ids=["misspelt", "wrong type", "raises", "another database", "another path"],
)
@pytest.mark.parametrize("check_mode", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_configuration_that_does_not_load_does_not_affect_the_running_hub(site, extra, expected, check_mode):
    before = site.observe()
    site.extra_config = extra
    directories = sorted(os.listdir(site.config_dir))
    try:
        with pytest.raises(ModuleError) as caught:
            site.run_hub(check=check_mode)
    finally:
        site.extra_config = ""
    assert not check_mode or sorted(os.listdir(site.config_dir)) == directories
    assert "so the hub was left as it was" in str(caught.value)
    assert expected in str(caught.value)
    assert site.observe() == before
    assert site.names() == ["", "-proxy"]


def test_new_sign_in_secrets_belong_to_the_configuration_that_was_accepted_with_them(site):
    """After a refused run, the running hub restarts (a reboot, say) with the secrets that fit its settings."""

    def secret():
        code, output = site.client.containers.get(NAME).exec_run("cat /etc/jupyterhub/config/authenticators.json")
        # The file is empty for a moment when the container starts.
        return json.loads(output)["values"]["github"]["client_secret"] if code == 0 and output else None

    try:
        assert site.run_hub(sign_in={"github": {"client_secret": "first"}})["action"] == "replace"
        site.extra_config = "1 / 0"
        with pytest.raises(ModuleError, match="so the hub was left as it was"):
            site.run_hub(sign_in={"github": {"client_secret": "second"}})
        site.extra_config = ""
        site.client.containers.get(NAME).restart()
        assert wait_until(lambda: secret() == "first", 60)
        assert site.run_hub(sign_in={"github": {"client_secret": "first"}})["action"] == "none"
        assert site.run_hub(sign_in={"github": {"client_secret": "second"}})["action"] == "replace"
        assert secret() == "second"
    finally:
        site.extra_config = ""
        site.run_hub()
    assert not list(Path(site.config_dir).glob("*/authenticators.json"))


@pytest.mark.long  # TestUpgrade has one that dies
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (
            "import os\nif 'HOSTNAME' in os.environ and os.environ['HOSTNAME'] == '" + NAME + "':\n"
            "    raise SystemExit('the roof is on fire')",
            "the roof is on fire",
        ),
        ("from jupyterhub import proxy\nproxy.ConfigurableHTTPProxy.get_all_routes = None", "its last log lines"),
    ],
    ids=["dies", "never reaches the proxy"],
)
def test_a_hub_that_fails_is_rolled_back_and_its_log_shown(site, extra, expected):
    before = site.observe()
    site.extra_config = extra
    arguments = {**site.hub_arguments(), "health_timeout": 25}
    site.extra_config = ""
    with pytest.raises(ModuleError) as caught:
        run(jupyterhub_hub, **arguments)
    assert "the old one was restored" in str(caught.value)
    assert expected in str(caught.value)
    assert site.client.containers.get(NAME).id == before[0]
    assert site.names() == ["", "-proxy"]
    result = site.run_hub()
    assert (result["action"], site.observe()[0]) == ("none", before[0])


def test_a_hub_that_dies_while_it_loads_never_replaces_the_running_one(site):
    """It is started beside the running hub, which is not affected."""
    before = site.observe()
    broken = derived_image(site, "RUN echo 'raise SystemExit(\"on fire\")' > jupyterhub_deploy_hub/start.py")
    with pytest.raises(ModuleError, match="does not start, so the running one was left as it was") as caught:
        site.run_hub(image=broken)
    assert "on fire" in str(caught.value)
    assert site.observe() == before
    assert site.names() == ["", "-proxy"]


@pytest.mark.long
def test_an_image_without_the_locks_is_started_after_the_old_hub_has_ended(site):
    """Otherwise two hubs would write to one database. An image without the label counts as one without the locks."""
    older = derived_image(site, "LABEL org.jupyterhub.deploy.standby=")
    result = site.run_hub(image=older)
    assert (result["action"], site.observe()[2]) == ("replace", 200)
    assert result["downtime"] > result["start_seconds"], "it was started beside the running hub"
    site.run_hub()


def test_a_missing_image_is_an_error_before_anything_is_changed(site):
    before = site.observe()
    with pytest.raises(ModuleError, match=r"image nowhere/hub:1 is not on this host"):
        run(jupyterhub_hub, **{**site.hub_arguments(), "image": "nowhere/hub:1"})
    assert site.observe() == before


def derived_image(site, line):
    """Build an image from the hub's with one more line; return its name."""
    name = f"{NAME}:derived"
    text = f"FROM {site.image}\nWORKDIR /opt/jupyterhub-deploy\n{line}\nWORKDIR /data\n"
    site.client.images.build(fileobj=io.BytesIO(text.encode()), tag=name, rm=True)
    return name


@pytest.mark.parametrize("left", ["next", "previous"])
def test_leftovers_of_a_killed_run_are_cleaned_up(site, left):
    """A kill before the switch leaves the new hub; a kill during it leaves only the old hub, renamed."""
    container = site.client.containers.get(NAME)
    if left == "next":
        site.client.containers.create(site.image, name=f"{NAME}-next", labels={LABEL_HUB: NAME})
    else:
        container.stop()
        container.rename(f"{NAME}-previous")
    result = site.run_hub()
    assert result["changed"]
    assert "left by an unfinished run" in result["reasons"][0]
    assert site.client.containers.get(NAME).id == container.id
    assert site.observe()[2] == 200
    assert site.names() == ["", "-proxy"]


def test_runs_at_the_same_time_wait_for_each_other(site, tmp_path):
    """Without the lock, each would remove the other one's replacement as that of a killed run."""

    def replace(number: int) -> bool:
        scratch = tmp_path / str(number)
        scratch.mkdir()
        arguments = site.hub_arguments()
        arguments["environment"]["RUN"] = str(number)
        return killed_run("jupyterhub_hub", NEVER, arguments, scratch)  # fails if the run does

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(replace, range(3))) == [False] * 3
    assert site.names() == ["", "-proxy"]
    assert site.observe()[2] == 200
    site.run_hub()


@pytest.mark.parametrize("part", ["-next", "-check", "-proxy-next"])
def test_somebody_elses_container_is_not_removed(site, part):
    other = site.client.containers.create(site.image, name=f"{NAME}{part}")
    before = site.observe()
    try:
        for check in (True, False):
            with pytest.raises(ModuleError, match=f"container {NAME}{part} was not created for hub"):
                site.run_proxy(check=check) if "proxy" in part else site.run_hub(check=check)
        other.reload()
    finally:
        other.remove()
    assert site.observe() == before


def test_the_next_run_recovers_from_a_killed_one_whose_new_hub_never_answers(site, tmp_path):
    """The new hub holds the lock, the old one is renamed and stopped; now the operator fixes the configuration."""
    site.extra_config = f"import os, time\nif os.uname().nodename == '{NAME}':\n    time.sleep(600)"
    assert killed_run("jupyterhub_hub", "kill:1", site.hub_arguments(), tmp_path)
    site.extra_config = "# fixed"
    result = site.run_hub()
    assert (result["action"], site.observe()[2]) == ("replace", 200)
    assert site.names() == ["", "-proxy"]
    site.extra_config = ""
    site.run_hub()


@pytest.mark.long
def test_a_hub_on_standby_whose_run_was_killed_soon_closes_its_port(site, tmp_path):
    """Its port is open, the old hub got no signal, and half of all requests wait in vain."""
    before, site.extra_config = site.observe(), "# never served"
    assert killed_run("jupyterhub_hub", "exec_start:1", site.hub_arguments(), tmp_path)
    site.extra_config = ""
    hub = HubContainer(docker.APIClient(), NAME, "", 1)
    deadline = time.monotonic() + 50
    while not hub.port_open(hub.next, HUB_PORT):
        assert time.monotonic() < deadline, "the port was never open"
    address = address_of(inspect_container(hub.client, hub.next))
    waiting = [socket.create_connection((address, HUB_PORT), timeout=0.5) for _ in range(300)]
    while hub.port_open(hub.next, HUB_PORT):
        assert time.monotonic() < deadline, "the port is still open"
        time.sleep(1)
    for connection in waiting:
        connection.close()
    assert site.observe() == before
    assert site.run_hub()["reasons"] == [f"removed {NAME}-next, left by an unfinished run"]


def revision(site):
    """The schema revision of the hub's database, read directly from the file."""
    volume = site.client.volumes.get(f"{NAME}-data").attrs["Mountpoint"]
    with sqlite3.connect(f"file:{volume}/jupyterhub.sqlite?mode=ro", uri=True) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


class TestUpgrade:
    """From JupyterHub 5.5 to 6.1, which has another database schema, and what happens when that fails."""

    @pytest.fixture
    def old(self, site):
        """The hub on 5.5; afterwards without the test's configuration."""
        session, schema = site.sign_in("admin", site.admin_password()), revision(site)
        yield session, schema, site.image
        site.extra_config = ""

    def test_a_new_version_that_fails_is_rolled_back_with_the_old_database(self, site, hub_image, old):
        session, schema, image = old
        before = site.observe()[0]
        site.image = hub_image("6.1.1")
        site.extra_config = f"import os\nif os.uname().nodename == '{NAME}':\n    raise SystemExit('on fire')"
        with pytest.raises(ModuleError, match="the old one was restored") as caught:
            site.run_hub()
        site.image, site.extra_config = image, ""
        assert "on fire" in str(caught.value)
        assert site.observe()[::2] == (before, 200)
        assert site.names() == ["", "-proxy"]
        assert revision(site) == schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.run_hub()["action"] == "none"

    @pytest.mark.long
    def test_a_run_killed_after_the_upgrade_is_rolled_back_with_all_data(self, site, hub_image, old, tmp_path):
        """The new hub has upgraded the database, and the old hub is renamed and stopped."""
        session, schema, image = old
        site.image = hub_image("6.1.1")
        assert killed_run("jupyterhub_hub", "kill:1", site.hub_arguments(), tmp_path)
        while revision(site) == schema:
            time.sleep(0.5)
        site.client.containers.get(NAME).remove(force=True)
        site.image = image
        result = site.run_hub()
        assert "left by an unfinished run" in " ".join(result["reasons"])
        assert revision(site) == schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")

    def test_the_database_goes_along_and_nobody_signs_in_again(self, site, hub_image, old):
        session, schema, image = old
        site.image = hub_image("6.1.1")
        result = site.run_hub()
        assert result["action"] == "replace"
        assert revision(site) != schema
        assert session.get(f"{site.url}/hub/home", timeout=10).url.endswith("/hub/home")
        assert site.sign_in("admin", site.admin_password())
        assert site.run_hub()["action"] == "none"

        # And the way back is refused, before anything is touched, with the copy that would be needed.
        before = site.observe()
        site.image = image
        with pytest.raises(ModuleError, match=r"newer than this JupyterHub's .*jupyterhub\.sqlite\." + schema):
            site.run_hub()
        assert site.observe() == before

        # By hand, as docs/how-to/jupyterhub-version.md has it, there is one.
        site.client.containers.get(NAME).stop()
        volume = Path(site.client.volumes.get(f"{NAME}-data").attrs["Mountpoint"])
        (volume / "jupyterhub.sqlite").rename(volume / "jupyterhub.sqlite.newer")
        shutil.copy2(max(volume.glob(f"jupyterhub.sqlite.{schema}.*")), volume / "jupyterhub.sqlite")
        assert site.run_hub()["action"] == "replace"
        assert revision(site) == schema
        assert site.sign_in("admin", site.admin_password())


@pytest.mark.long
def test_the_next_run_recovers_from_one_that_was_killed_at_any_step(site, tmp_path):
    """SIGKILL after each change that a replacement makes to Docker."""
    for step in itertools.count(1):
        site.extra_config = f"# {step}"
        if not killed_run("jupyterhub_hub", step, site.hub_arguments(), tmp_path):
            break
        if step % 2:
            site.extra_config = "# something else was wanted meanwhile"
        site.run_hub()
        assert site.observe()[2] == 200, f"after a kill at step {step}"
        assert site.sign_in("admin", site.admin_password()), f"after a kill at step {step}"
        assert site.names() == ["", "-proxy"], f"after a kill at step {step}"
    assert step > 10, f"a replacement takes more steps than {step}"


class Answer(BaseHTTPRequestHandler):
    """Answers every request."""

    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args):
        """Print nothing."""


@pytest.fixture
def campus(site, tmp_path):
    """A server with a certificate of its own authority: its address, and the certificate."""
    address = site.client.networks.get(f"{site.name}-network").attrs["IPAM"]["Config"][0]["Gateway"]
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj"]
    command += ["/CN=campus", "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer((address, 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://{address}:{server.server_address[1]}/", str(certificate)
    server.shutdown()
    server.server_close()


def test_the_hub_trusts_an_own_authority_beside_the_public_ones(site, campus):
    url, certificate = campus
    # The client that JupyterHub's authenticators use.
    answer = f"ioloop.IOLoop.current().run_sync(lambda: httpclient.AsyncHTTPClient().fetch('{url}'))"
    fetch = f"from tornado import httpclient, ioloop; print({answer}.code)"

    def inside(code):
        return site.client.containers.get(site.name).exec_run(["python", "-c", code]).output.decode()

    assert "certificate verify failed: self" in inside(fetch)
    try:
        assert site.run_hub(ca_bundle=certificate)["action"] == "replace"
        assert not site.run_hub(ca_bundle=certificate)["changed"]
        assert inside(fetch) == "204\n"
        assert inside("import ssl; print(ssl.get_default_verify_paths().capath)") == "/usr/lib/ssl/certs\n"
    finally:
        assert site.run_hub()["action"] == "replace"
    assert "certificate verify failed: self" in inside(fetch)


@pytest.mark.long
def test_sign_in_providers_are_reached_through_the_proxy_of_the_environment(site):
    code = "from oauthenticator.github import GitHubOAuthenticator as GitHub; from jupyterhub_deploy_hub import oauth; "
    code += "print(type(oauth.with_clear_errors(GitHub)().http_client).__name__)"
    hub = site.client.containers.get(site.name)
    clients = [
        hub.exec_run(["python", "-c", code], environment=environment).output.decode()
        for environment in ({"HTTPS_PROXY": "http://proxy.example.com:3128"}, {})
    ]
    assert clients == ["ProxiedClient\n", "SimpleAsyncHTTPClient\n"]
