"""The proxy behind the front is replaced on real Docker, while a user works, with the hub away, and killed midway."""

from __future__ import annotations

import itertools
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible.module_utils.jupyterhub_deploy.containers import container
from ansible.module_utils.jupyterhub_deploy.containers.container import accepts_connections
from ansible.module_utils.jupyterhub_deploy.processes import wait_until
from docker.models.networks import Network

import jupyterhub_proxy
from hosts.run import name as run_name
from support.asking import Asking
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError, run
from support.poller import Notebook, Poll
from support.ports import free_port
from support.upload import Upload

NAME = run_name("rolling")
Replace = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def site(make_site: Callable[[str], ModuleSite]) -> Iterator[ModuleSite]:
    made = make_site(NAME)
    try:
        assert requests.get(made.url, timeout=10).status_code == 503  # there is no proxy yet
        first = made.run_proxy()
        assert (first["action"], first["routes"]) == ("create", "later")
        made.run_hub()
        yield made
    finally:
        made.destroy()  # first, because it uses the images
        for name in images(made):
            made.client.images.remove(name, force=True)


@pytest.fixture(scope="module")
def alice(site: ModuleSite) -> Notebook:
    """A user with a kernel and its open web socket."""
    return site.notebook("alice")


def images(site: ModuleSite) -> list[str]:
    """Return the names of the images that the tests here made."""
    return [tag for one in site.client.images.list(name=f"{NAME}/proxy") for tag in one.tags]


def another_image(site: ModuleSite, number: int, instruction: str = "") -> str:
    """Return another image of the proxy, which has to replace it."""
    name = f"{NAME}/proxy:{number}"
    context = Path(site.config_dir, "context")
    context.mkdir(exist_ok=True)
    Path(context, "Dockerfile").write_text(f"FROM {site.original}\nENV NUMBER={number}\n{instruction}\n")
    site.client.images.build(path=str(context), tag=name, rm=True)
    return name


@pytest.fixture
def replaced(site: ModuleSite) -> Replace:
    """Replace the proxy by one with another image; return the module's result."""
    numbers = itertools.count(secrets.randbelow(10**6))

    def replace(instruction: str = "", **options: Any) -> dict[str, Any]:
        site.proxy_image = another_image(site, next(numbers), instruction)
        return site.run_proxy(**options)

    return replace


def draining(site: ModuleSite) -> list[str]:
    """Return the names of old proxies that run."""
    found = site.client.containers.list(filters={"name": f"{NAME}-proxy-draining"})
    return sorted(str(one.name) for one in found)


def address_in(site: ModuleSite, network: str | None) -> str:
    """Return the proxy's address in a network."""
    networks = site.client.containers.get(f"{NAME}-proxy").attrs["NetworkSettings"]["Networks"]
    return str(networks[str(network)]["IPAddress"])


def addresses(network: Network) -> list[str]:
    """Return the addresses that containers have in a network."""
    network.reload()
    return [one["IPv4Address"].partition("/")[0] for one in network.attrs["Containers"].values()]


def test_only_the_front_reaches_the_proxy(site: ModuleSite) -> None:
    assert not site.client.containers.get(f"{NAME}-proxy").attrs["HostConfig"]["PortBindings"]
    assert requests.get(f"{site.url}/hub/login", timeout=10).status_code == 200


def test_the_proxy_ends_no_long_request(site: ModuleSite) -> None:
    code = "const s = require('http').createServer().listen(0, () => {console.log(s.requestTimeout); process.exit()})"
    command = ["--require", "/opt/proxy/drain.js", "-e", code]
    assert site.client.containers.run(site.original, command, entrypoint=["node"], remove=True) == b"0\n"


def test_the_log_of_the_proxy_has_no_colors(site: ModuleSite) -> None:
    log = site.client.containers.get(f"{NAME}-proxy").logs()
    assert b" info: " in log
    assert b"\x1b" not in log


def test_a_second_run_changes_nothing(site: ModuleSite) -> None:
    for check in (True, False):
        result = site.run_proxy(check=check)
        assert (result["changed"], result["action"], result["messages"]) == (False, "none", [])
    assert site.run_front()["changed"] is False


def test_nobody_is_interrupted(
    site: ModuleSite, alice: Notebook, replaced: Replace, times: Callable[[int, int], int]
) -> None:
    megabytes, rounds = times(20, 200), times(2, 10)
    with Asking(f"{NAME}-jupyter-alice") as asking, Upload(alice, megabytes) as upload, Poll(alice) as poll:
        for _ in range(rounds):
            before = site.client.containers.get(f"{NAME}-proxy").id
            result = replaced()
            assert (result["action"], result["downtime"], result["routes"]) == ("replace", 0, "restored")
            assert site.client.containers.get(f"{NAME}-proxy").id != before
        # The first one still has the web socket and the upload. The others end after half a minute.
        assert wait_until(lambda: len(draining(site)) == 1, 90), draining(site)
    print(poll.report, upload.sent, asking.answers)  # for docs/explanation/restarts.md
    assert poll.report.uninterrupted, poll.report
    assert poll.report.hub_down == 0, poll.report
    assert upload.result == str(upload.sent)
    # Servers ask the hub through the proxy, here twenty times a second. Docker's DNS returns the address of an old
    # proxy for a moment after its end, longer on a busy host. One that is broken while it drains loses half of them.
    assert sum(asking.answers.values()) - asking.answers["200"] <= asking.answers["200"] / 100, asking.answers
    assert alice.problem_with_variable() == ""
    result = site.run_proxy()
    assert (result["changed"], result["messages"]) == (False, [])
    assert len([name for name in site.names() if "draining" in name]) == 1  # those that have ended are removed


def test_the_hub_uses_the_new_proxy(site: ModuleSite, alice: Notebook, replaced: Replace) -> None:
    replaced()
    bob = site.notebook("bob")
    site.client.containers.get(NAME).restart()  # it finds the API by the name that the old proxy has, too
    assert wait_until(lambda: requests.get(f"{site.url}/hub/health", timeout=10).status_code == 200, 60)
    bob.session.stop("bob")
    assert wait_until(lambda: bob.ask() != "", 30)  # its route is removed
    bob.session.spawn("bob")
    bob.sign_in()
    assert bob.ask() == alice.ask() == ""
    bob.session.stop("bob")


def test_routes_survive_while_the_hub_is_away(site: ModuleSite, alice: Notebook, replaced: Replace) -> None:
    hub = site.client.containers.get(NAME)
    hub.stop()
    try:
        result = replaced()
        assert result["routes"] == "later"
        assert requests.get(f"{site.url}/user/alice/api", timeout=10).status_code == 200
    finally:
        hub.start()
    assert wait_until(lambda: requests.get(f"{site.url}/hub/health", timeout=10).status_code == 200, 60)


def test_check_mode_reports_and_changes_nothing(site: ModuleSite, replaced: Replace) -> None:
    before, names = site.observe("proxy"), site.names()
    result = replaced(check=True)
    assert (result["changed"], result["action"]) == (True, "replace")
    assert (site.observe("proxy"), site.names()) == (before, names)
    site.run_proxy()


@pytest.mark.parametrize("instruction", ['CMD ["false"]', "RUN mv /opt/proxy/drain.js /tmp/"])
def test_a_proxy_that_does_not_start_changes_nothing(instruction: str, site: ModuleSite, replaced: Replace) -> None:
    image, before, old = site.proxy_image, site.observe("proxy"), draining(site)
    with pytest.raises(ModuleError, match="the new proxy does not work, so the old one was left as it was"):
        replaced(instruction)
    assert site.observe("proxy") == before
    assert set(draining(site)) <= set(old)  # some may have ended
    site.proxy_image = image
    assert site.run_proxy()["changed"] is False


def test_a_front_that_refuses_its_configuration_keeps_the_old_proxy(
    site: ModuleSite, alice: Notebook, replaced: Replace
) -> None:
    image, before, old = site.proxy_image, site.observe("proxy"), draining(site)
    targets = site.directory / "targets"
    target, broken = (targets / f"{NAME}.conf").read_text(), targets / "other.conf"
    broken.write_text("upstream {")
    try:
        with pytest.raises(
            ModuleError, match=r"does not pass requests to the new proxy .* so the old one stays in use"
        ):
            replaced()
    finally:
        broken.unlink()
    assert site.observe("proxy") == before
    assert (targets / f"{NAME}.conf").read_text() == target
    assert set(draining(site)) <= set(old)  # some may have ended
    assert f"{NAME}-proxy-next" not in site.containers()
    site.proxy_image = image
    assert site.run_proxy()["changed"] is False
    assert alice.ask() == ""
    site.notebook("carol").session.stop("carol")  # the hub uses the API of the old one again


def test_a_broken_proxy_is_replaced(site: ModuleSite, alice: Notebook, replaced: Replace) -> None:
    network = site.client.networks.get(f"{NAME}-control")
    network.disconnect(f"{NAME}-proxy")  # so that neither its routes can be read nor the hub reaches it
    result = replaced()
    assert (result["action"], result["downtime"], result["routes"]) == ("replace", 0, "restored")
    assert alice.ask() == ""


@pytest.mark.parametrize("lost", ["name", "address"])
def test_a_proxy_whose_api_the_hub_does_not_reach_is_replaced(lost: str, site: ModuleSite, alice: Notebook) -> None:
    # An old proxy that ends meanwhile would free a lower address. The one with alice's web socket stays.
    assert wait_until(lambda: len(draining(site)) <= 1, 90), draining(site)
    network, proxy = site.client.networks.get(f"{NAME}-control"), f"{NAME}-proxy"
    before = address_in(site, network.name)
    network.disconnect(proxy)
    others = list[Any]()
    while lost == "address" and before not in addresses(network):  # Docker gives the lowest free one
        others.append(
            site.client.containers.run(
                site.original, ["600"], entrypoint=["sleep"], network=network.name, name=f"{NAME}-other-{len(others)}",
                detach=True,
            )
        )  # fmt: skip
    network.connect(proxy, aliases=[f"{NAME}-proxy-api"] if lost == "address" else [])
    for other in others:
        other.remove(force=True)
    assert lost == "name" or address_in(site, network.name) != before
    result = site.run_proxy()
    assert (result["action"], result["downtime"], result["routes"]) == ("replace", 0, "restored")
    assert result["reasons"] == [f"the hub does not reach the proxy's API in network {network.name}"]
    user = f"new-{lost}"
    new = site.notebook(user)  # whose server gets a route
    assert new.ask() == alice.ask() == ""
    new.session.stop(user)
    assert site.run_proxy()["changed"] is False


@pytest.mark.parametrize("part", ["front", "proxy", "hub"])
def test_a_paused_container_is_restarted(
    part: str, site: ModuleSite, alice: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "PATIENCE", 1)  # the 30 seconds that a busy container gets
    monkeypatch.setattr(container, "PROBE_TIMEOUT", 1)
    paused = site.client.containers.get({"hub": NAME}.get(part, f"{NAME}-{part}"))
    paused.pause()
    try:
        result = getattr(site, f"run_{part}")()
    finally:
        paused.reload()
        if paused.status == "paused":
            paused.unpause()
    assert result["action"] == ("restart" if part == "hub" else "replace")
    assert alice.ask() == ""
    assert alice.problem_with_variable() == ""  # the web socket stays open


def test_a_stopped_proxy_gets_another_address_if_its_own_is_taken(site: ModuleSite, alice: Notebook) -> None:
    proxy, network = site.client.containers.get(f"{NAME}-proxy"), f"{NAME}-front"
    address = address_in(site, network)
    proxy.stop()
    other = site.client.containers.create(site.original, name=f"{NAME}-other", entrypoint=["sleep", "600"])
    try:
        site.client.networks.get(network).connect(other, ipv4_address=address)
        other.start()
        assert site.run_proxy()["action"] == "replace"
        assert alice.ask() == ""
    finally:
        other.remove(force=True)
    assert site.run_proxy()["changed"] is False


def test_another_port_has_the_hub_and_its_servers_at_once(site: ModuleSite, alice: Notebook) -> None:
    port = free_port()
    alice.connect()
    try:
        assert site.run_front(http_port=port)["changed"] is True
        for path in ("hub/login", "user/alice/api"):
            assert requests.get(f"http://127.0.0.1:{port}/{path}", timeout=10).status_code == 200
        assert wait_until(lambda: not accepts_connections("127.0.0.1", site.port), 30)
        assert alice.socket.execute("6*7") == "42"  # its connection stays open
    finally:
        site.run_front()
    assert alice.ask() == ""


def test_a_port_that_is_taken_leaves_the_old_one(site: ModuleSite, alice: Notebook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ModuleError, match="Address already in use"):
        site.run_front(http_port=other.getsockname()[1], health_timeout=5)
    assert alice.ask() == ""
    assert site.run_front()["changed"] is False


def test_the_hub_is_open_at_its_bind_address_only(site: ModuleSite, alice: Notebook) -> None:
    addresses = [site.client.networks.get(f"{NAME}-control").attrs["IPAM"]["Config"][0]["Gateway"], "::1"]
    assert [accepts_connections(address, site.port) for address in addresses] == [False, False]
    site.run_front(bind_address="0.0.0.0")
    try:
        assert [accepts_connections(address, site.port) for address in addresses] == [True, True]
    finally:
        site.run_front()
    assert alice.ask() == ""


@pytest.mark.parametrize("text", ["", "upstream {"])
def test_a_damaged_target_is_repaired(text: str, site: ModuleSite, alice: Notebook) -> None:
    (site.directory / f"targets/{NAME}.conf").write_text(text)
    site.run_front()
    result = site.run_proxy()
    assert (result["changed"], result["messages"]) == (True, ["the front did not pass requests to this proxy"])
    assert alice.ask() == ""
    assert site.client.containers.get(f"{NAME}-front").exec_run(["nginx", "-t", "-c", "/etc/front/nginx.conf"])[0] == 0


def test_a_target_that_was_edited_is_released_again(site: ModuleSite, alice: Notebook) -> None:
    path = site.directory / f"targets/{NAME}.conf"
    good = path.read_text()
    path.write_text(re.sub(r"server [0-9.]+", "server 127.0.0.9", good) + "# mine\n")
    front = site.client.containers.get(f"{NAME}-front")
    assert front.exec_run(["nginx", "-s", "reload", "-c", "/etc/front/nginx.conf"])[0] == 0
    assert wait_until(lambda: alice.ask() != "", 30)
    site.run_front()
    site.run_proxy()
    assert wait_until(lambda: alice.ask() == "", 30)
    assert path.read_text() == good
    assert not path.with_suffix(".pending").exists()


def test_a_target_that_nginx_has_perhaps_not_read_is_released_again(site: ModuleSite, alice: Notebook) -> None:
    """As after a kill between the write and the reload."""
    path = site.directory / f"targets/{NAME}.conf"
    good = path.read_text()
    path.write_text(re.sub(r"server [0-9.]+", "server 127.0.0.9", good))
    front = site.client.containers.get(f"{NAME}-front")
    assert front.exec_run(["nginx", "-s", "reload", "-c", "/etc/front/nginx.conf"])[0] == 0
    assert wait_until(lambda: alice.ask() != "", 30)
    path.write_text(good)
    path.with_suffix(".pending").touch()
    for check in (True, False):
        assert site.run_proxy(check=check)["messages"] == ["the front did not pass requests to this proxy"]
    assert wait_until(lambda: alice.ask() == "", 30)
    assert not path.with_suffix(".pending").exists()


def test_a_proxy_of_an_earlier_version_ends_at_once(site: ModuleSite, replaced: Replace) -> None:
    without = 'LABEL org.jupyterhub.deploy.drains=""'
    assert replaced(without)["downtime"] > 0  # it cannot start beside another one
    old = site.client.containers.get(f"{NAME}-proxy")
    result = replaced()
    assert result["downtime"] == 0
    assert "the old proxy, of an earlier version, was stopped, which interrupted" in result["messages"][-1]
    assert old.name not in draining(site)
    assert not [one for one in site.client.containers.list(all=True) if one.id == old.id]


def test_the_next_run_recovers_from_one_that_was_killed_at_any_step(
    site: ModuleSite,
    alice: Notebook,
    replaced: Replace,
    tmp_path: Path,
    times: Callable[[int, int], int],
) -> None:
    """SIGKILL after each change that a replacement makes to Docker, or after those that matter most."""
    # When the new one has started; after the front's reload; between the two changes of names; before the reload; last.
    important = ["start:2", "exec_start:3", "rename:1", "exec_start:1", "rename:2"][: times(3, 5)]
    every = map(str, range(1, times(0, 100)))
    replaced()
    for number, step in enumerate([*important, *every]):
        site.proxy_image = another_image(site, 10**7 + number)
        with Poll(alice) as poll:
            if not killed_run("jupyterhub_proxy", step, site.proxy_arguments(), tmp_path):
                assert step not in important
                break
            site.run_proxy()
            second = site.run_proxy()
        assert second["changed"] is False, f"after a kill at step {step}: {second}"
        kept = [name for name in site.names() if "draining" not in name]
        assert kept == ["", "-jupyter-alice", "-proxy"], f"after a kill at step {step}"
        assert site.client.containers.get(f"{NAME}-proxy").attrs["Config"]["Image"] == site.proxy_image
        assert not poll.report.failed, f"after a kill at step {step}: {poll.report}"
        assert not poll.report.hub_down, f"after a kill at step {step}: {poll.report}"
    assert number >= times(0, 8), f"a replacement takes more steps than {step}"


def test_a_recovery_that_fails_does_not_forget_that_nginx_uses_the_old_proxy(
    site: ModuleSite, alice: Notebook, replaced: Replace, tmp_path: Path
) -> None:
    site.proxy_image = another_image(site, 2 * 10**7)
    assert killed_run("jupyterhub_proxy", "exec_start:1", site.proxy_arguments(), tmp_path)  # before the reload
    broken = site.directory / "targets/other.conf"
    broken.write_text("upstream {")
    try:
        with pytest.raises(ModuleError, match="does not pass requests to the new proxy"):
            site.run_proxy()
    finally:
        broken.unlink()
    assert (site.directory / f"targets/{NAME}.pending").exists()
    site.run_proxy()
    for name in draining(site):
        site.client.containers.get(name).stop(timeout=0)
    assert alice.ask() == ""


def test_a_stopped_proxy_is_started_and_has_its_routes(site: ModuleSite, alice: Notebook) -> None:
    site.client.containers.get(f"{NAME}-proxy").stop()
    result = site.run_proxy()
    assert (result["action"], result["reasons"]) == ("start", ["the proxy container is stopped"])
    assert alice.ask() == ""


def test_a_missing_image_is_an_error_before_anything_is_changed(site: ModuleSite) -> None:
    before = site.observe("proxy")
    with pytest.raises(ModuleError, match="image nowhere/proxy:1 is not on this host"):
        run(jupyterhub_proxy, **{**site.proxy_arguments(), "image": "nowhere/proxy:1"})
    assert site.observe("proxy") == before


def test_proxies_in_the_settings_of_dockers_client_do_not_reach_hub_and_proxy(
    site: ModuleSite, replaced: Replace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://127.0.0.1:9"}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    site.extra_config = "# behind a proxy"
    assert replaced()["action"] == "replace"
    assert site.run_hub()["action"] == "replace"
    for part in ("proxy", ""):
        environment = site.client.containers.get(f"{NAME}-{part}".rstrip("-")).attrs["Config"]["Env"]
        assert not [entry for entry in environment if entry.lower().startswith("http_proxy=")]
