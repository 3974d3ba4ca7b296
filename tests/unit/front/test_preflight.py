from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_FRONT
from ansible.module_utils.jupyterhub_deploy.front import certificate, preflight
from ansible.module_utils.jupyterhub_deploy.front.preflight import FrontSettings
from ansible.module_utils.jupyterhub_deploy.front.site import own_directory, write_site
from ansible.module_utils.jupyterhub_deploy.hub import host, reachability

from support.factories.certificates import Authority
from support.factories.sites import site

SETTINGS = FrontSettings(
    name="jupyterhub-front", directory="/nowhere", https="own", domain="hub.example.com", subdomains=False,
    http_port=80, https_port=443, certificate="", key="", acme={}, ca_bundle="", plain_sign_up=False,
    bind_address="0.0.0.0",
)  # fmt: skip


def container(name: str, state: str = "running", port: int = 0) -> dict[str, Any]:
    ports = [{"PublicPort": port, "Type": "tcp"}] if port else []
    labels = {LABEL_FRONT: "yes"} if "front" in name else {}
    return {"Names": [f"/{name}"], "Id": "0123456789abcdef", "State": state, "Ports": ports, "Labels": labels}


def test_a_directory_of_another_program(tmp_path: Path) -> None:
    settings = replace(SETTINGS, name="nginx", directory=str(tmp_path / "nginx"))
    assert preflight.directory_problems(settings) == []
    (tmp_path / "nginx").mkdir()
    assert preflight.directory_problems(settings) == []
    (tmp_path / "nginx/nginx.conf").touch()
    (problem,) = preflight.directory_problems(settings)
    assert problem.startswith(f"jupyterhub_front_name is nginx, and {tmp_path}/nginx has files that are not of a front")


@pytest.mark.parametrize("name", ["acme", "challenges", "sites"])
def test_a_directory_of_the_front(name: str, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").touch()
    (tmp_path / name).mkdir()
    assert preflight.directory_problems(replace(SETTINGS, directory=str(tmp_path))) == []


def test_a_port_that_a_program_uses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (problem,) = preflight.port_problems(replace(SETTINGS, https_port=port, http_port=1), "lab", [])
    program = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert problem.startswith(
        f"jupyterhub_https_port {port} is taken by {program} (pid {os.getpid()}); stop it, choose another"
    )
    assert "docs/how-to/behind-a-proxy.md" in problem


def test_a_port_that_a_container_publishes() -> None:
    (problem,) = preflight.port_problems(replace(SETTINGS, http_port=1), "lab", [container("shop", port=443)])
    assert "jupyterhub_https_port 443 is taken by container shop;" in problem


@pytest.mark.parametrize(
    ("name", "port", "is_ssh"), [("sshd", 2222, True), ("systemd", 22, True), ("systemd", 80, False)]
)
def test_the_port_of_ssh_stays_with_ssh(name: str, port: int, is_ssh: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "listener", lambda *_, **__: host.Listener(name, 7))
    (problem,) = preflight.port_problems(replace(SETTINGS, https="none", http_port=port), "lab", [])
    assert problem.startswith(f"jupyterhub_port {port} is taken by {name} (pid 7)")
    assert ("stop it" in problem) != is_ssh
    assert problem.endswith("which serves SSH; choose another jupyterhub_port") == is_ssh


def test_the_front_uses_its_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_is_in_container", lambda pid, container_id: pid == os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = replace(SETTINGS, https_port=listener.getsockname()[1], http_port=1)
        assert preflight.port_problems(settings, "lab", [container("jupyterhub-front")]) == []
        assert preflight.port_problems(settings, "lab", [container("jupyterhub-front", "paused")]) == []
        assert preflight.port_problems(settings, "lab", [container("jupyterhub-front-next")]) == []
        assert len(preflight.port_problems(settings, "lab", [container("jupyterhub-front", "exited")])) == 1
        (problem,) = preflight.port_problems(settings, "lab", [container("other-front")])
    assert problem.endswith("of the front other-front; set jupyterhub_front_name: other-front, which all hubs share")


def test_a_port_that_the_proxy_does_not_have_alone() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # so that no other program gets the port meanwhile
        port = listener.getsockname()[1]
        settings = replace(SETTINGS, https="none", http_port=port)
        assert preflight.port_problems(settings, "lab", [container("lab-proxy", port=port)]) == []
        listener.listen()
        (problem,) = preflight.port_problems(settings, "lab", [container("lab-proxy", port=port)])
        assert f"jupyterhub_port {port} is taken by " in problem
        assert f"(pid {os.getpid()}); stop it" in problem


def test_https_at_the_port_of_the_proxy() -> None:
    (problem,) = preflight.port_problems(replace(SETTINGS, http_port=1), "lab", [container("lab-proxy", port=443)])
    advice = "the hub's own proxy; first run make site with jupyterhub_https: none"
    assert f"jupyterhub_https_port 443 is taken by container lab-proxy, {advice}" in problem


def test_the_front_keeps_its_port_while_docker_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_container = [True]
    monkeypatch.setattr(preflight, "_is_in_container", lambda pid, container_id: in_container[0])
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/lab.json").touch()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = replace(SETTINGS, https="none", http_port=port, directory=str(tmp_path))
        assert preflight.port_problems(settings, "lab", None) == []
        assert len(preflight.port_problems(settings, "other", None)) == 1
        # Docker runs with other data: its containers have gone on.
        (problem,) = preflight.port_problems(settings, "lab", [])
        assert "a process in a container that Docker does not list, possibly because of an option in daemon" in problem
        in_container[0] = False
        assert len(preflight.port_problems(settings, "lab", None)) == 1


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, "blocks port 80,443, which the front needs, for other machines"),
        ({"https": "behind"}, "with ufw: ufw allow 80/tcp"),
        ({"https": "none", "http_port": 8000}, "with ufw: ufw allow 8000/tcp"),
        ({"bind_address": "127.0.0.1"}, ""),
    ],
)
def test_a_firewall_that_blocks_the_fronts_ports(changes: dict[str, Any], warning: str) -> None:
    settings = replace(SETTINGS, **changes)
    faults, found = preflight.firewall_problems(settings, "lab", exists=False, rules="-P INPUT DROP\n")
    assert (faults, len(found)) == ([], bool(warning))
    assert warning in "".join(found)
    assert preflight.firewall_problems(settings, "lab", exists=True, rules="-P INPUT ACCEPT\n") == ([], [])


@pytest.mark.parametrize(
    ("https", "exists", "served", "is_fault"),
    [
        ("none", True, False, True),
        ("none", True, True, False),
        ("none", False, False, False),
        ("own", True, False, False),
    ],
)
def test_a_firewall_that_would_block_the_users_of_a_hub_that_gets_the_front(
    https: str, exists: bool, served: bool, is_fault: bool, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, https=https, directory=str(tmp_path))
    if served:
        write_site(str(tmp_path), "lab", site("lab"))
    faults, warnings = preflight.firewall_problems(settings, "lab", exists=exists, rules="-P INPUT DROP\n")
    assert (len(faults), len(warnings)) == (is_fault, not is_fault)


def test_another_hub_with_the_same_domain_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    settings = replace(SETTINGS, directory=str(tmp_path))
    write_site(str(tmp_path), "lab", site("lab", domain=settings.domain))
    assert preflight.conflicts(settings, "lab") == []
    assert preflight.conflicts(replace(settings, https="none", http_port=8000), "jupyterhub") == []
    (problem,) = preflight.conflicts(replace(settings, https="none"), "jupyterhub")
    assert problem.startswith(
        "hub lab on this host has port 80 already; choose another port for jupyterhub: jupyterhub_"
    )
    (problem,) = preflight.conflicts(settings, "jupyterhub")
    assert problem.startswith(f"hub lab on this host has the domain {settings.domain} already; choose another")
    write_site(str(tmp_path), "lab", site("lab"))
    assert preflight.conflicts(settings, "jupyterhub") == []


@pytest.mark.parametrize(
    ("name", "problems"),
    [("lab-proxy", 0), ("jupyterhub-proxy", 1), ("lab-proxyx", 1)],
)
def test_without_https_the_front_takes_the_port_from_the_hubs_own_proxies(
    name: str, problems: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "listener", lambda port, besides=(): None)
    settings = replace(SETTINGS, https="none", http_port=8000)
    found = preflight.port_problems(settings, "lab", [container(name, port=8000)])
    assert len(found) == problems
    assert all(f"jupyterhub_port 8000 is taken by container {name}; stop it" in one for one in found)


def test_only_the_ports_that_are_used_are_checked() -> None:
    containers = [container("shop", port=443)]
    assert preflight.port_problems(replace(SETTINGS, https="none", http_port=1), "lab", containers) == []
    assert preflight.port_problems(replace(SETTINGS, https="behind", http_port=1), "lab", containers) == []


@pytest.mark.parametrize(
    ("address", "own", "refused"),
    [
        ("0.0.0.0", ["10.0.0.1", "9.9.9.9"], "9.9.9.9"),
        ("9.9.9.9", ["10.0.0.1"], "9.9.9.9"),
        ("0.0.0.0", ["192.168.1.10", "fd00::1"], ""),
        ("0.0.0.0", ["192.168.1.10", "2600::1"], "2600::1"),
        ("192.168.1.10", ["192.168.1.10", "2600::1"], ""),
        ("0.0.0.0", [], ""),
        ("127.0.0.1", ["9.9.9.9"], ""),
    ],
)
def test_open_sign_up_without_https_at_a_public_address(
    address: str, own: list[str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachability, "own_addresses", lambda: own)
    settings = replace(SETTINGS, https="none", plain_sign_up=True, bind_address=address)
    problems = preflight.plain_problems(settings)
    assert len(problems) == bool(refused)
    assert all(f"public address {refused}," in one and "jupyterhub_insecure: true" in one for one in problems)
    assert preflight.plain_problems(replace(settings, plain_sign_up=False)) == []
    assert preflight.plain_problems(replace(settings, https="own")) == []


def test_the_certificate_is_named_with_its_fault(tmp_path: Path) -> None:
    issued = Authority().issue("other.example.com")
    settings = replace(SETTINGS, certificate=issued.chain, key=issued.key)
    ((fault,), warnings) = preflight.certificate_problems(settings, "lab")
    assert fault == (
        "the certificate for hub.example.com (jupyterhub_tls_certificate): Hostname mismatch, certificate is not valid "
        "for 'hub.example.com'; request a certificate for hub.example.com, or correct jupyterhub_domain"
    )
    assert warnings == []
    assert preflight.certificate_problems(replace(settings, https="behind"), "lab") == ([], [])


def test_a_certificate_in_use_that_has_expired_stops_no_run(tmp_path: Path) -> None:
    issued = Authority().issue("hub.example.com", days=-1)
    chain, key = (certificate.pem_of("x", text) for text in issued)
    settings = replace(SETTINGS, directory=str(tmp_path), certificate=chain, key=key)
    assert len(preflight.certificate_problems(settings, "lab").faults) == 1
    (tmp_path / own_directory("lab", chain, key)).mkdir(parents=True)
    (faults, (warning,)) = preflight.certificate_problems(settings, "lab")
    assert faults == []
    assert warning.endswith("certificate has expired; renew it")


def test_a_missing_file_is_a_fault() -> None:
    settings = replace(SETTINGS, certificate="/nowhere/hub.pem", key="/nowhere/hub.key")
    ((fault,), _) = preflight.certificate_problems(settings, "lab")
    assert fault.startswith("jupyterhub_tls_certificate is /nowhere/hub.pem, and this host has no such file")


@pytest.mark.parametrize("https", ["none", "behind", "acme", "own"])
def test_authorities_that_are_missing_are_named(https: str) -> None:
    issued = Authority().issue("hub.example.com")
    settings = replace(
        SETTINGS, https=https, certificate=issued.chain, key=issued.key, ca_bundle="/nowhere/root.pem", acme={}
    )
    fault = "jupyterhub_ca_bundle is /nowhere/root.pem, and this host has no such file"
    assert preflight.ca_bundle_problems(settings) == [fault]
    assert fault not in preflight.certificate_problems(settings, "lab").faults  # once
    assert preflight.ca_bundle_problems(replace(settings, ca_bundle="")) == []


@pytest.mark.parametrize(("https", "count"), [("none", 0), ("acme", 0), ("own", 1)])
def test_the_systems_authorities_are_installed_with_docker(
    https: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca-certificates.crt"
    monkeypatch.setattr(preflight, "SYSTEM_CA_BUNDLE", str(bundle))
    settings = replace(SETTINGS, https=https, ca_bundle=str(bundle))
    assert len(preflight.ca_bundle_problems(settings)) == count
    bundle.touch()
    assert preflight.ca_bundle_problems(settings) == []


def test_subdomains_need_a_wildcard() -> None:
    issued = Authority().issue("hub.example.com")
    settings = replace(SETTINGS, certificate=issued.chain, key=issued.key)
    assert preflight.certificate_problems(settings, "lab").faults == []
    assert len(preflight.certificate_problems(replace(settings, subdomains=True), "lab").faults) == 1


ACME = replace(SETTINGS, https="acme", acme={"challenge": "http"})


def test_settings_of_acme() -> None:
    assert preflight.certificate_problems(ACME, "lab") == ([], [])
    ((fault,), _) = preflight.certificate_problems(
        replace(ACME, acme={"server": "ftp://example.com", "challenge": "http"}), "lab"
    )
    assert fault.startswith("jupyterhub_acme_server is 'ftp://example.com'; set it to letsencrypt, staging, or the URL")
    ((fault,), _) = preflight.certificate_problems(replace(ACME, acme={"ca_bundle": "/nowhere"}), "lab")
    assert fault.startswith("jupyterhub_acme_ca_bundle is /nowhere, and this host has no such file")
    ((fault,), _) = preflight.certificate_problems(replace(ACME, subdomains=True), "lab")
    assert "a certificate for *.hub.example.com cannot be requested by HTTP" in fault


def test_the_acme_server_connects_to_port_80() -> None:
    (_, (warning,)) = preflight.certificate_problems(replace(ACME, http_port=8080), "lab")
    assert warning.startswith(
        "jupyterhub_http_port is 8080, and the ACME server connects to port 80 of hub.example.com"
    )


def test_whether_the_front_serves_a_hub(tmp_path: Path) -> None:
    settings = replace(SETTINGS, directory=str(tmp_path))
    assert not preflight.is_served(settings, "lab")
    write_site(str(tmp_path), "lab", site("lab"))
    assert preflight.is_served(settings, "lab")
