"""Tests that pass on every finished site, however it was installed; a test class inherits them.

A class that inherits gives a fixture ``site``.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, NamedTuple

from hosts.hosts import Host
from support.hub_http import HubSession

PASSWORD = "a-long-enough-passphrase-of-the-test"
SECRETS_DIR = "/etc/jupyterhub/secrets"


class Site(NamedTuple):
    """A finished site.

    Attributes:
        host: the machine it is on.
        url: the hub's public address as this machine reaches it, without a trailing slash.
        admin: name of the admin account.
        password: the admin's password.
    """

    host: Host
    url: str
    admin: str
    password: str


def inspect(host: Host, container: str) -> dict[str, Any]:
    """Return what Docker on the host knows of a container."""
    return dict(json.loads(host.run(["docker", "inspect", container]).stdout)[0])


def environment(host: Host, container: str) -> dict[str, str]:
    """Return the environment that a container was given."""
    return dict(setting.split("=", 1) for setting in inspect(host, container)["Config"]["Env"])


def secrets_of(host: Host) -> dict[str, str]:
    """Return file name to text of the site's secrets, as root reads them."""
    names = host.run(["ls", SECRETS_DIR]).stdout.split()
    return {name: host.read(f"{SECRETS_DIR}/{name}").strip() for name in names}


class SiteTests:
    """Tests that hold for every site."""

    def test_hub_answers(self, site: Site) -> None:
        session = HubSession(site.url)
        assert session.get(f"{site.url}/hub/health", timeout=30).status_code == 200
        assert "_xsrf" in session.get(f"{site.url}/hub/login", timeout=30).text

    def test_admin_signs_in_and_is_admin(self, site: Site) -> None:
        session = HubSession(site.url)
        assert session.sign_in(site.admin, site.password)
        me = session.me()
        assert me is not None
        assert me["name"] == site.admin
        assert me["admin"] is True

    def test_who_signs_up_as_admin_gains_nothing(self, site: Site) -> None:
        HubSession(site.url).sign_up(site.admin, PASSWORD)
        assert not HubSession(site.url).sign_in(site.admin, PASSWORD)
        assert HubSession(site.url).sign_in(site.admin, site.password)

    def test_user_signs_up_works_and_finds_the_work_again(self, site: Site) -> None:
        name = f"alice{secrets.token_hex(3)}"
        session = HubSession(site.url)
        session.sign_up(name, PASSWORD)
        assert session.sign_in(name, PASSWORD)
        session.spawn(name)
        try:
            container = f"jupyter-{name}"
            image = environment(site.host, "jupyterhub")["DOCKER_NOTEBOOK_IMAGE"]
            assert inspect(site.host, container)["Config"]["Image"] == image
            note = {"type": "file", "format": "text", "content": "42"}
            session.contents("PUT", name, "answer.txt", json=note)
            volumes = site.host.run(["docker", "volume", "ls", "--quiet"]).stdout.split()
            assert f"jupyterhub-user-{name}" in volumes
            shown = json.dumps(inspect(site.host, container))
            for file, secret in secrets_of(site.host).items():
                assert secret not in shown, f"{file} is in docker inspect {container}"
            session.stop(name)
            session.spawn(name)
            assert session.contents("GET", name, "answer.txt")["content"] == "42"
        finally:
            session.stop(name)

    def test_upstreams_users_find_what_they_know(self, site: Site) -> None:
        containers = site.host.run(["docker", "ps", "--format", "{{.Names}}"]).stdout.split()
        assert {"jupyterhub", "jupyterhub-proxy"} <= set(containers)
        assert "jupyterhub-data" in site.host.run(["docker", "volume", "ls", "--quiet"]).stdout.split()
        assert "jupyterhub-network" in site.host.run(["docker", "network", "ls", "--format", "{{.Name}}"]).stdout
        assert "JupyterHub is now running" in site.host.run(["docker", "logs", "jupyterhub"]).stdout
        given = environment(site.host, "jupyterhub")
        assert given["DOCKER_NETWORK_NAME"] == "jupyterhub-network"
        assert given["DOCKER_NOTEBOOK_DIR"] == "/home/jovyan/work"
        assert given["JUPYTERHUB_ADMIN"] == site.admin
        assert given["DOCKER_NOTEBOOK_IMAGE"]

    def test_secrets_are_roots_alone(self, site: Site) -> None:
        listed = site.host.run(["find", SECRETS_DIR, "-printf", "%P %m %U:%G\\n"]).stdout.splitlines()
        assert listed[0].split() == ["700", "0:0"]
        assert site.host.run(["stat", "--format", "%a %U:%G", f"{SECRETS_DIR}/.."]).stdout.strip() == "700 root:root"
        files = {line.split()[0]: line.split()[1:] for line in listed[1:]}
        assert {"cookie_secret", "proxy_token", "crypt_key", "api_token", "admin_password"} <= set(files)
        assert set(map(tuple, files.values())) == {("600", "0:0")}

    def test_no_secret_in_an_environment_or_a_process_list(self, site: Site) -> None:
        shown = json.dumps([inspect(site.host, name) for name in ("jupyterhub", "jupyterhub-proxy")])
        shown += site.host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False).stdout
        for file, secret in secrets_of(site.host).items():
            assert secret not in shown, f"{file} is shown"
