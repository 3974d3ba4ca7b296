"""A hub whose proxy has the hub's port, as earlier versions left it, gets the front on real Docker."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.containers.draining import DRAINING
from ansible.module_utils.jupyterhub_deploy.containers.proxy import ProxyOptions
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB
from ansible.module_utils.jupyterhub_deploy.front import handover
from ansible.module_utils.jupyterhub_deploy.hub import routes
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

from hosts.run import name as run_name
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError
from support.poller import Notebook
from support.site_fixtures import StartSite

NAME = run_name("handover")


@pytest.fixture(scope="module")
def site(start_site: StartSite) -> ModuleSite:
    return start_site(NAME)


@pytest.fixture(scope="module")
def alice(site: ModuleSite) -> Notebook:
    """A user with a running server."""
    return site.notebook("alice")


@pytest.fixture
def published(site: ModuleSite, alice: Notebook) -> ModuleSite:
    """The hub without a front, as an earlier version left it."""
    publish(site)
    assert ports(site) == [("127.0.0.1", site.port)]
    return site


@pytest.fixture(scope="module")
def earlier_image(site: ModuleSite) -> Iterator[str]:
    """An image of the proxy that cannot start beside another one."""
    name = f"{NAME}/proxy:earlier"
    dockerfile = f'FROM {site.original}\nLABEL org.jupyterhub.deploy.drains=""\n'
    site.client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, rm=True)
    yield name
    site.client.images.remove(name, force=True)


def publish(site: ModuleSite) -> None:
    """Replace the proxy by one that has the hub's port, and remove the front."""
    if (site.directory / f"sites/{NAME}.json").exists():
        site.run_front(state="absent")
    proxy = site.client.containers.get(f"{NAME}-proxy")
    proxy.remove(force=True)
    made = site.client.containers.create(
        site.proxy_image, name=f"{NAME}-proxy", network=f"{NAME}-network", labels={LABEL_HUB: NAME},
        environment=proxy.attrs["Config"]["Env"], volumes=proxy.attrs["HostConfig"]["Binds"],
        ports={"8000/tcp": ("127.0.0.1", site.port)},
    )  # fmt: skip
    options = site.proxy_arguments()
    site.client.networks.get(f"{NAME}-control").connect(made, aliases=[options["api_host"]])
    made.start()
    assert wait_until(lambda: restored(site, options), 30)


def restored(site: ModuleSite, options: dict[str, Any]) -> bool:
    """Return whether the hub has restored the routes of the proxy."""
    return routes.restore(site.client.api, ProxyOptions(**options), f"{NAME}-proxy").state == routes.RESTORED


def ports(site: ModuleSite) -> list[tuple[str, int]]:
    """Return where this host reaches the proxy."""
    proxy = site.client.containers.get(f"{NAME}-proxy").attrs
    return [
        (one["HostIp"], int(one["HostPort"])) for one in (proxy["HostConfig"]["PortBindings"] or {}).get("8000/tcp", [])
    ]


def provision(site: ModuleSite) -> list[dict[str, Any]]:
    """Do what the role does; return the results of the modules."""
    return [site.run_front(), site.run_proxy()]


def require_fronted(site: ModuleSite, alice: Notebook, server: str) -> None:
    """Require that the front serves the hub, and that the user's server is the same and reachable."""
    assert requests.get(f"{site.url}/hub/health", timeout=10).headers["Server"] == "nginx"
    assert ports(site) == []
    assert alice.ask() == ""
    assert site.client.containers.get(f"{NAME}-jupyter-alice").id == server
    assert wait_until(lambda: not draining(site), 60)
    assert [result["changed"] for result in provision(site)] == [False, False]
    assert sorted(name for name in site.names() if "-jupyter-" not in name) == ["", "-proxy"]


def draining(site: ModuleSite) -> list[str]:
    """Return the old proxies that still have connections."""
    running = (str(one.name) for one in site.client.containers.list())
    return [name for name in running if name.startswith(f"{NAME}-proxy{DRAINING}")]


def server_of(site: ModuleSite) -> str:
    return str(site.client.containers.get(f"{NAME}-jupyter-alice").id)


def test_the_port_moves_to_the_front(published: ModuleSite, alice: Notebook) -> None:
    server = server_of(published)
    front, proxy = provision(published)

    assert (front["action"], proxy["action"], proxy["downtime"]) == ("create", "replace", 0)
    assert f"port {published.port} moved from the old proxy to the front" in " ".join(proxy["messages"])
    assert published.names() == ["", "-jupyter-alice", "-proxy"]
    require_fronted(published, alice, server)


def test_check_mode_says_what_moves_and_changes_nothing(published: ModuleSite) -> None:
    before = published.observe("proxy"), published.names()
    result = published.run_front(check=True)
    assert result["changed"]
    assert f"port {published.port} moves from {NAME}-proxy to the front" in " ".join(result["messages"])
    assert (published.observe("proxy"), published.names()) == before


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "in-place"])
def test_the_old_proxy_serves_again_if_the_front_cannot(
    beside: bool, published: ModuleSite, alice: Notebook, earlier_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the new proxy starts beside the old one, or the old one is stopped first."""
    server, serve = server_of(published), handover.serve

    def serve_when_taken(*arguments: Any) -> None:
        with socket.create_server(("127.0.0.1", published.port)):  # free, because the old proxy has stopped
            serve(*arguments)

    published.run_front()
    with monkeypatch.context() as patch:
        patch.setattr(handover, "serve", serve_when_taken)
        patch.setattr(published, "proxy_image", published.original if beside else earlier_image)
        with pytest.raises(ModuleError, match=f"port {published.port} is taken by .*; stop it"):
            published.run_proxy()
    assert ports(published) == [("127.0.0.1", published.port)]
    assert published.names() == ["", "-jupyter-alice", "-proxy"]
    assert published.client.containers.get(f"{NAME}-proxy").attrs["State"]["Running"]
    assert wait_until(lambda: alice.ask() == "", 30)
    provision(published)
    assert published.names() == ["", "-jupyter-alice", "-proxy"]
    require_fronted(published, alice, server)


def test_a_hub_that_waits_for_its_port_can_be_removed(published: ModuleSite) -> None:
    published.run_front()
    results = [published.run_front(state="absent", check=True), published.run_front(state="absent")]
    assert [result["changed"] for result in results] == [True, True]
    assert not [path for path in published.directory.rglob("*") if path.name.startswith(NAME)]
    assert published.run_front(state="absent")["changed"] is False
    assert ports(published) == [("127.0.0.1", published.port)]  # its proxy still serves


def test_the_next_run_recovers_from_one_that_was_killed_at_any_step(
    published: ModuleSite, alice: Notebook, tmp_path: Path, times: Callable[[int, int], int]
) -> None:
    server = server_of(published)
    # The new proxy runs; the old one has stopped; the names change; nginx has read its new configuration; the end.
    important = ["start:2", "stop:1", "rename:1", "exec_start:5", "rename:2"][: times(3, 5)]
    for step in [*important, *map(str, range(1, times(0, 100)))]:
        publish(published)
        published.run_front()
        if not killed_run("jupyterhub_proxy", step, published.proxy_arguments(), tmp_path):
            assert step not in important
            break
        provision(published)
        require_fronted(published, alice, server)
