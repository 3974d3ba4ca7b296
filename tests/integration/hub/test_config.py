"""The check of an operator's configuration before the running hub is replaced, in the images that would run it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.signin_hub import NO_PROXY, HubContainer, docker, write_config

#: Values of jupyterhub_extra_config, and the message of the check ("" for a valid one).
EXTRAS = {
    "nothing": ("", ""),
    "comment": ("# nothing\n", ""),
    "good": (
        "c.DockerSpawner.mem_limit = '1G'\nc.Authenticator.admin_users.add('carol')\n"
        "c.DockerSpawner.extra_host_config['runtime'] = 'nvidia'\nc.Spawner.environment = {'A': '{{ b }}'}\n",
        "",
    ),
    "no effect": (
        "c.Spawner.mem_limit = '1G'\n",
        "jupyterhub_extra_config line 1: c.Spawner.mem_limit: has no effect, because the deployment sets "
        "c.DockerSpawner.mem_limit; write c.DockerSpawner.mem_limit",
    ),
    "own class": (
        "from traitlets import Unicode\nfrom jupyterhub_deploy_hub.spawner import HubSpawner\n"
        "class Mine(HubSpawner):\n    colour = Unicode(config=True)\n"
        "c.JupyterHub.spawner_class = Mine\nc.Mine.colour = 'red'\nc.Spawner.colour = 'blue'\n",
        "",
    ),
    "list method": ("c.JupyterHub.services.append({'name': 'x', 'command': ['true']})\n", ""),
    "syntax": (
        "a = 1\nc.Spawner.cmd = [\n",
        "jupyterhub_extra_config line 2: SyntaxError: '[' was never closed",
    ),
    "indentation": ("\n  a = 1\n", "jupyterhub_extra_config line 2: IndentationError: unexpected indent"),
    "exception": (
        "import os\n\nvalue = os.environ['NOT_THERE']\n",
        "jupyterhub_extra_config line 3: KeyError: 'NOT_THERE'",
    ),
    "exit": ("raise SystemExit\n", "jupyterhub_extra_config line 1: SystemExit: no reason given"),
    "misspelt trait": (
        "\nc.DockerSpawner.mem_limt = '1G'\n",
        "jupyterhub_extra_config line 2: c.DockerSpawner.mem_limt does not exist; did you mean "
        "c.DockerSpawner.mem_limit?",
    ),
    "misspelt class": (
        "c.DockerSpawnr.mem_limit = '1G'\n",
        "jupyterhub_extra_config line 1: c.DockerSpawnr.mem_limit: this hub has no class DockerSpawnr; did you mean "
        "c.DockerSpawner?",
    ),
    "wrong type": ("c.Spawner.start_timeout = 'soon'\n", "jupyterhub_extra_config line 1: c.Spawner.start_timeout: "),
    "wrong memory": (
        "c.DockerSpawner.mem_limit = 'lots'\n",
        "jupyterhub_extra_config line 1: c.DockerSpawner.mem_limit: ",
    ),
    "wrong app trait": ("c.JupyterHub.hub_port = '80a'\n", "jupyterhub_extra_config line 1: c.JupyterHub.hub_port: "),
    "hardening and administrator": (
        "c.DockerSpawner.extra_host_config = {'shm_size': '1g'}\nc.Authenticator.admin_users = {'alice'}\n",
        "",
    ),
    "database": (
        "\nc.JupyterHub.db_url = 'sqlite:////data/other.sqlite'\n",
        "jupyterhub_extra_config line 2: c.JupyterHub.db_url: backups, restores and the deletion of users only know ",
    ),
    "network": (
        "c.HubSpawner.network_name = 'lab'\n",
        "jupyterhub_extra_config line 1: c.HubSpawner.network_name: the hub and the servers could not reach each other",
    ),
    "spawner": (
        "c.JupyterHub.spawner_class = 'docker'\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.spawner_class: DockerSpawner is not a subclass of ",
    ),
    "authenticator": (
        "c.JupyterHub.authenticator_class = 'dummy'\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.authenticator_class: DummyAuthenticator replaces ",
    ),
    "path": (
        "c.JupyterHub.base_url = '/jupyter/'\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.base_url: the deployment's proxy and its checks use the hub ",
    ),
    "bind_url": (
        "c.JupyterHub.bind_url = 'http://:8000/jupyter'\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.bind_url: the front listens for the hub, at ",
    ),
    "all rights": (
        "c.DockerSpawner.extra_host_config = {'privileged': True}\n",
        "jupyterhub_extra_config line 1: c.DockerSpawner.extra_host_config: privileged: servers would control the host",
    ),
    "processes of the host": (
        "c.DockerSpawner.extra_host_config['pid_mode'] = 'host'\n",
        "jupyterhub_extra_config line 1: c.DockerSpawner.extra_host_config: pid_mode: servers would see the processes ",
    ),
    "port of the hub": (
        "c.JupyterHub.hub_port = 9000\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.hub_port: the deployment looks for the hub at its own address ",
    ),
    "old name of the proxy's port": (
        "c.JupyterHub.proxy_api_port = 8101\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.proxy_api_port: the hub could not reach the deployment's proxy; ",
    ),
    "token of the proxy": (
        "c.ConfigurableHTTPProxy.auth_token = 'x' * 32\n",
        "jupyterhub_extra_config line 1: c.ConfigurableHTTPProxy.auth_token: the hub could not reach the deployment's ",
    ),
    "old name of the administrators": (
        "c.JupyterHub.admin_users = {'alice'}\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.admin_users: JupyterHub ignores it beside ",
    ),
    "address of servers": (
        "c.Spawner.ip = '127.0.0.1'\n",
        "jupyterhub_extra_config line 1: c.Spawner.ip: the hub could not reach the servers; remove the line",
    ),
    "address of the hub for servers": (
        "c.Spawner.hub_connect_url = 'http://192.0.2.1:8081'\n",
        "jupyterhub_extra_config line 1: c.Spawner.hub_connect_url: the servers could not reach the hub; remove the ",
    ),
    "a conversion": (
        "c.DockerSpawner.volumes = {'/srv/{username!s}': '/w'}\n",
        "jupyterhub_extra_config line 1: c.DockerSpawner.volumes: backups and the deletion of users do not find ",
    ),
    "old name": (
        "c.DockerSpawner.container_image = 'example/other:1'\n",
        "jupyterhub_extra_config line 1: c.DockerSpawner.container_image: set jupyterhub_notebook_image instead",
    ),
    "a user's volume in a list method": (
        "c.DockerSpawner.mounts = [{'source': 'w-{username}', 'target': '/w'}]\n"
        "c.HubSpawner.mounts.append({'source': 'shared', 'target': '/s'})\n",
        "jupyterhub_extra_config line 2: c.HubSpawner.mounts: the next user of a name would get the volume w-",
    ),
    "names of the template": (
        "import secrets\nsettings = signin = deploy_role = None\nc.JupyterHub.services = [{'name': 'x'}]\n",
        "",
    ),
    "service": (
        "c.JupyterHub.services.append({'name': 'deploy'})\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.services: the name deploy is that of the deployment's own entry",
    ),
    "no such authenticator": (
        "c.JupyterHub.authenticator_class = 'gitbub'\n",
        "jupyterhub_extra_config line 1: c.JupyterHub.authenticator_class: ",
    ),
}
PROBE = """
import json, pathlib, sys
from jupyterhub_deploy_hub.check import problems
print(json.dumps({p.parent.name: problems(p) for p in pathlib.Path("/cases").glob("*/jupyterhub_config.py")}))
"""


@pytest.fixture(scope="module", params=["5.5.4", "6.1.1"])
def checked(
    request: pytest.FixtureRequest, hub_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HubContainer, dict[str, list[str]]]]:
    """A hub that was never started, and the messages of the check for EXTRAS (checked together: it takes 2 s)."""
    directory = tmp_path_factory.mktemp("check")
    for number, (extra, _) in enumerate(EXTRAS.values()):
        write_config(directory, extra)
        (directory / "config").rename(directory / f"case-{number}")
    cases = directory / "cases"
    cases.mkdir()
    for number in range(len(EXTRAS)):
        (directory / f"case-{number}").rename(cases / str(number))
    write_config(directory, "c.Spawner.mem_limt = '1G'\n")
    hub = HubContainer(hub_image(request.param), directory)
    arguments = [*hub.arguments(), "--volume", f"{cases}:/cases:ro", "--network", "none"]
    done = docker("run", "--rm", *arguments, hub.image, "python3", "-c", PROBE, check=False)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    try:
        yield hub, {case: answers[str(number)] for number, case in enumerate(EXTRAS)}
    finally:
        hub.remove()


@pytest.mark.parametrize("case", EXTRAS)
def test_extra_configuration(checked: tuple[HubContainer, dict[str, list[str]]], case: str) -> None:
    found, expected = checked[1][case], EXTRAS[case][1]
    if expected:
        assert len(found) == 1, found
        assert found[0].startswith(expected), found[0]
    else:
        assert found == []


def test_an_assignment_keeps_the_deployments_own_entries(
    checked: tuple[HubContainer, dict[str, list[str]]], tmp_path: Path
) -> None:
    write_config(tmp_path, EXTRAS["hardening and administrator"][0])
    hub = HubContainer(checked[0].image, tmp_path)
    code = (
        "from jupyterhub_deploy_hub.seed import load_config; from jupyterhub_deploy_hub import CONFIG_FILE;"
        "print(sorted(load_config(CONFIG_FILE).Authenticator.admin_users))"
    )
    try:
        assert hub.run("python3", "-c", code).stdout.strip() == "['admin', 'alice']"
        checked_again = hub.run("python3", "-m", "jupyterhub_deploy_hub.check")
        assert (checked_again.returncode, checked_again.stderr) == (0, "")
        assert json.loads(checked_again.stdout) == {"without_account": ["alice"]}
    finally:
        hub.remove()


def test_the_command_prints_one_line_and_changes_nothing(
    checked: tuple[HubContainer, dict[str, list[str]]], tmp_path: Path
) -> None:
    hub = checked[0]
    done = hub.run("python3", "-m", "jupyterhub_deploy_hub.check")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "jupyterhub_extra_config line 1: c.Spawner.mem_limt does not exist; did you mean c.Spawner.mem_limit?"
    ]
    assert hub.run("ls", "-A", "/data").stdout == ""


@pytest.mark.parametrize("base_url", ["/", pytest.param("/lab/", marks=pytest.mark.long)])
def test_a_hub_is_healthy_once_it_answers(hub_image: Callable[[str], str], tmp_path: Path, base_url: str) -> None:
    write_config(tmp_path, f"{NO_PROXY}\nc.JupyterHub.base_url = {base_url!r}\n")
    hub = HubContainer(hub_image("5.5.4"), tmp_path)
    command = ("python3", "-m", "jupyterhub_deploy_hub.health")
    assert "does not answer" in hub.run(*command).stderr  # a container of its own, without a hub
    docker("run", "--detach", "--name", hub.name, *hub.arguments(), hub.image)
    try:
        end = time.monotonic() + 90
        while hub.run(*command).returncode != 0:
            assert time.monotonic() < end, hub.logs()
        assert "Hub API listening" in hub.logs()
    finally:
        hub.remove()
