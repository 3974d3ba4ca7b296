"""What the guard in the front's image reads from Docker and the host, with a Docker that only answers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import guard
import guard_docker
import pytest
from guard import Guard

ENVIRONMENT = {"GUARD_HUB": "lab", "GUARD_NETWORK": "lab-network", "GUARD_ISOLATION": "full", "GUARD_PORTS": "80,443"}
NETWORK: dict[str, Any] = {
    "Id": "0123456789abcdef",
    "Driver": "bridge",
    "Labels": {"org.jupyterhub.deploy.hub": "lab"},
    "Options": {},
    "IPAM": {"Config": [{"Subnet": "198.18.4.0/22"}]},
}
OTHERS = [
    {"Id": "b", "Labels": {}, "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
    {"Id": "h", "Labels": None, "IPAM": {"Config": None}},
]


def container(name: str, user: str | None = None) -> dict[str, Any]:
    labels = {"org.jupyterhub.deploy.hub": "lab", **({"org.jupyterhub.deploy.user": user} if user else {})}
    return {"Id": f"id-{name}", "Names": [f"/{name}"], "Labels": labels}


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Docker answers, by path."""
    monkeypatch.setattr(guard, "resolvers", lambda: ())
    answers: dict[str, Any] = {"/networks": [NETWORK, *OTHERS]}
    asked: list[str] = []

    def get(path: str, **filters: list[str]) -> Any:
        asked.append(path)
        if path not in answers:
            raise guard.DockerError(path)
        return answers[path]

    monkeypatch.setattr(guard, "get", get)
    return answers | {"answers": answers, "asked": asked}


def fill(docker: dict[str, Any], **addresses: str) -> None:
    """Let containers, by names with _ for -, have addresses in the users' network."""
    names = {name.replace("_", "-"): address for name, address in addresses.items()}
    ends = {f"id-{name}": {"IPv4Address": f"{address}/22", "IPv6Address": ""} for name, address in names.items()}
    docker["answers"]["/networks/lab-network"] = {**NETWORK, "Containers": ends}
    own = [container(name, "alice" if "alice" in name else None) for name in names if name != "stranger"]
    docker["answers"]["/containers/json?all=1"] = own


def test_only_hub_and_proxy_are_no_notebooks(docker: dict[str, Any]) -> None:
    fill(
        docker, lab="198.18.4.2", lab_next="198.18.4.3", lab_proxy="198.18.4.4", lab_proxy_next="198.18.4.5",
        lab_jupyter_alice="198.18.4.6", stranger="198.18.4.7", lab_guard_probe="198.18.4.8",
        lab_proxy_of_alice="198.18.4.9",
    )  # fmt: skip
    found = Guard(ENVIRONMENT).inputs()
    assert found.hubs == ("198.18.4.2", "198.18.4.3")
    assert found.proxies == ("198.18.4.4", "198.18.4.5")
    assert found.direct == ()
    assert (found.bridge, found.subnets, found.ports) == ("br-0123456789ab", ("198.18.4.0/22",), (80, 443))
    assert found.others == ("172.17.0.0/16",)


def test_an_allowed_address_that_a_server_got_is_not_allowed(docker: dict[str, Any]) -> None:
    fill(docker, lab="198.18.4.2", lab_jupyter_alice="198.18.4.9", stranger="198.18.4.8")
    allowed = {"GUARD_ALLOWED": "198.18.4.9,198.18.4.8,10.0.0.0/8"}
    assert Guard({**ENVIRONMENT, **allowed}).inputs().allowed == ("198.18.4.8", "10.0.0.0/8")


def test_the_bridge_can_have_a_name_of_its_own(docker: dict[str, Any]) -> None:
    fill(docker)
    docker["answers"]["/networks/lab-network"]["Options"] = {"com.docker.network.bridge.name": "users0"}
    assert Guard(ENVIRONMENT).inputs().bridge == "users0"


def test_a_network_that_is_not_a_bridge_is_not_isolated(docker: dict[str, Any]) -> None:
    fill(docker)
    docker["answers"]["/networks/lab-network"]["Driver"] = "macvlan"
    with pytest.raises(ValueError, match="lab-network has the driver macvlan; only bridges are isolated"):
        Guard(ENVIRONMENT).inputs()


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("http://lab:8081/hub/api", ("198.18.4.6",)),
        ("http://lab-proxy:8000/hub/api", ()),
        ("http://lab:80812/hub/api", ()),
    ],
)
def test_servers_that_ask_the_hub_itself(docker: dict[str, Any], url: str, direct: tuple[str, ...]) -> None:
    fill(docker, lab="198.18.4.2", lab_jupyter_alice="198.18.4.6")
    path = "/containers/id-lab-jupyter-alice/json"
    docker["answers"][path] = {"Config": {"Env": ["HOME=/", f"JUPYTERHUB_API_URL={url}"]}}
    keeper = Guard(ENVIRONMENT)
    assert keeper.inputs().direct == keeper.inputs().direct == direct
    assert docker["asked"].count(path) == 1
    fill(docker, lab="198.18.4.2")
    assert keeper.inputs().direct == ()
    fill(docker, lab="198.18.4.2", lab_jupyter_alice="198.18.4.6")
    assert keeper.inputs().direct == direct
    assert docker["asked"].count(path) == 2  # what has ended is forgotten


def test_resolvers_of_this_machine(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("own/etc/resolv.conf", "search example.com\nnameserver 10.0.0.1\nnameserver\n")
    write("own/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n# nameserver 10.9.9.9\n")
    write("own/run/systemd/resolve/resolv.conf", "nameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver fd00::2\n")
    (tmp_path / "host/etc").mkdir(parents=True)
    os.symlink("../run/systemd/resolve/stub-resolv.conf", tmp_path / "host/etc/resolv.conf")
    found = guard.resolvers(tmp_path / "host", tmp_path / "own")
    assert found == ("10.0.0.1", "10.0.0.2", "fd00::2")
    (tmp_path / "host/etc/resolv.conf").unlink()
    write("host/etc/resolv.conf", "nameserver 192.168.0.1\n")
    assert "192.168.0.1" in guard.resolvers(tmp_path / "host", tmp_path / "own")


class StopError(Exception):
    """Ends the loop."""


@pytest.fixture
def kernel(docker: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A kernel that has the rules that were loaded; ``rounds`` is what happens before each further round."""
    state: dict[str, Any] = {"rules": "", "loads": 0, "rounds": []}
    fill(docker, lab="198.18.4.2")
    monkeypatch.setattr(guard, "LOADED", tmp_path / "loaded")

    def load(text: str) -> None:
        if state.get("refuses"):
            raise OSError("nft: refused")
        state.update(rules=text, loads=state["loads"] + 1)

    class Event:
        def wait(self, timeout: float) -> None:
            if not state["rounds"]:
                raise StopError
            state["rounds"].pop(0)()

        def clear(self) -> None:
            pass

    def nft(command: str) -> Mock:
        assert command == "list tables"
        return Mock(stdout=state.get("tables", ""))

    monkeypatch.setattr(guard, "nft", nft)
    monkeypatch.setattr(guard, "load", load)
    monkeypatch.setattr(Guard, "listing", lambda self: state["rules"])
    monkeypatch.setattr(guard.threading, "Event", Event)
    monkeypatch.setattr(guard.threading, "Thread", Mock())
    return state


def test_rules_are_loaded_when_they_change_or_are_missing(kernel: dict[str, Any], docker: dict[str, Any]) -> None:
    seen: list[int] = []

    def somebody_removes_them() -> None:
        seen.append(kernel["loads"])
        kernel["rules"] = ""

    def the_hub_gets_another_address() -> None:
        seen.append(kernel["loads"])
        fill(docker, lab="198.18.4.9")

    kernel["rounds"] = [lambda: seen.append(kernel["loads"]), somebody_removes_them, the_hub_gets_another_address]
    with pytest.raises(StopError):
        Guard(ENVIRONMENT).run()
    assert (seen, kernel["loads"]) == ([1, 1, 2], 3)
    assert "198.18.4.9" in kernel["rules"]
    assert guard.LOADED.exists()


def test_rules_of_hubs_that_no_longer_exist_are_removed(
    kernel: dict[str, Any], docker: dict[str, Any], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(guard, "load", found.append)
    names = ["bridge jh-lab", "bridge jh-gone", "inet jh-gone", "bridge jh-stopped", "bridge jh-empty", "inet jh-mine"]
    kernel["tables"] = "".join(f"table {name}\n" for name in names)
    answers = docker["answers"]
    answers["/networks"].append({"Labels": {"org.jupyterhub.deploy.hub": "empty"}})
    answers["/containers/json?all=1"].append({"Labels": {"org.jupyterhub.deploy.hub": "stopped"}})
    guard.remove_unused()
    assert found == [guard.guard_rules.remove("gone")]
    assert capfd.readouterr().out == "removed the rules of hub gone, which no longer exists\n"


def test_rules_of_others_that_cannot_be_removed_do_not_matter(
    kernel: dict[str, Any], docker: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "remove_unused", Mock(side_effect=guard.DockerError("no answer")))
    with pytest.raises(StopError):
        Guard(ENVIRONMENT).run()
    assert kernel["loads"] == 1


@pytest.mark.parametrize("fault", ["nft", "docker", "removed at once"])
def test_without_rules_the_guard_is_not_healthy(
    kernel: dict[str, Any],
    docker: dict[str, Any],
    fault: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault == "nft":
        kernel["refuses"] = True
    elif fault == "removed at once":
        monkeypatch.setattr(Guard, "listing", lambda self: "")
    else:
        docker["answers"].pop("/networks/lab-network")
    kernel["rounds"] = [lambda: None]
    with pytest.raises(StopError):
        Guard(ENVIRONMENT).run()
    assert not guard.LOADED.exists()
    assert capfd.readouterr().err.count("the rules are not up to date") == 1  # once, not in every round


def test_names_are_resolved_again_and_keep_what_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, tuple[tuple[str, int], ...]] = {"gone.example.com:443": (("10.0.0.9", 443),)}

    def getaddrinfo(host: str, _: object) -> list[Any]:
        if host.startswith("gone"):
            raise OSError
        return [
            (0, 0, 0, "", (address, 0)) for address in ("10.0.0.2", "10.0.0.1", "10.0.0.2", "127.0.0.1", "fe80::1%eth0")
        ]

    def sleep(seconds: float) -> None:
        raise StopError

    monkeypatch.setattr(guard.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(StopError):
        guard.resolve(["mirror.example.com:80", "gone.example.com:443"], found)
    assert found["mirror.example.com:80"] == (("10.0.0.1", 80), ("10.0.0.2", 80))
    assert found["gone.example.com:443"] == (("10.0.0.9", 443),)
    guard.resolve([], found)


def test_filters_are_part_of_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Answer:
        def __init__(self, path: str, timeout: float) -> None:
            asked.append(path)

        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self) -> bytes:
            return b"[]"

    monkeypatch.setattr(guard_docker, "answer", Answer)
    guard_docker.get("/networks")
    guard_docker.get("/containers/json?all=1", label=["a=b"])
    assert asked[0] == "/networks"
    query = parse_qs(urlsplit(asked[1]).query)
    assert (query["all"], json.loads(query["filters"][0])) == (["1"], {"label": ["a=b"]})
