from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.front import certificate, status
from ansible.module_utils.jupyterhub_deploy.front.certificate import Certificate
from ansible.module_utils.jupyterhub_deploy.front.site import Site
from ansible.module_utils.jupyterhub_deploy.hub import reachability

from support.factories.certificates import Authority, self_signed
from support.factories.sites import site
from support.tls import serve_certificate

NOW = datetime.now(timezone.utc).isoformat(timespec="seconds")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose certificate is on the disk and is served."""
    made = site(https="acme", certificate="acme/live/jupyterhub")
    authority = Authority()
    (tmp_path / "root.pem").write_text(authority.root)
    issued = authority.issue(made.domain, days=50.5)
    folder = tmp_path / made.certificate
    folder.mkdir(parents=True)
    (folder / "fullchain.pem").write_text(issued.chain)
    (folder / "privkey.pem").write_text(issued.key)
    os.utime(folder / "fullchain.pem", (0, 0))
    present = certificate.describe(issued.chain, issued.key)
    monkeypatch.setattr(certificate, "fetch", lambda *_, **__: present)
    monkeypatch.setattr(reachability, "read_rules", str)
    return made


def lines(folder: Path, of: Site) -> list[str]:
    """Return the messages on a host that trusts the authority of the certificate."""
    return status.messages(str(folder), of, str(folder / "root.pem"))


def renewal(folder: Path, exit_code: int) -> None:
    result = {"exit_code": exit_code, "error": "the server\n  refuses"}
    write(folder, {"time": NOW, "hubs": {"jupyterhub": result}})


def write(folder: Path, record: dict[str, Any]) -> None:
    (folder / "acme/last_renewal.json").write_text(json.dumps(record))


def test_a_certificate_that_is_served(served: Site, tmp_path: Path) -> None:
    expected = "certificate for jupyterhub.example.com from Example University, ends in 50 days"
    assert lines(tmp_path, served) == [expected]
    renewal(tmp_path, 0)
    assert lines(tmp_path, served) == [expected]


def test_a_certificate_that_this_host_does_not_trust(served: Site, tmp_path: Path) -> None:
    expected, warning = status.messages(str(tmp_path), served)
    assert expected.endswith("ends in 50 days")
    assert warning.startswith("WARNING: the certificate is not trusted by this host (")
    assert warning.endswith("; browsers may show a warning; see docs/how-to/https.md for an authority of your own")
    assert status.messages(str(tmp_path), served, str(tmp_path / "missing.pem")) == [expected]


def test_a_certificate_that_has_ended_has_no_second_warning(served: Site, tmp_path: Path) -> None:
    issued = self_signed(served.domain, [served.domain], days=-1.5)
    (tmp_path / served.certificate / "fullchain.pem").write_text(issued.chain)
    (tmp_path / served.certificate / "privkey.pem").write_text(issued.key)
    (line,) = status.messages(str(tmp_path), served)
    assert line.startswith("EXPIRED:")


def test_a_failed_renewal(served: Site, tmp_path: Path) -> None:
    renewal(tmp_path, 1)
    assert lines(tmp_path, served)[1:] == [f"RENEWAL FAILED for jupyterhub.example.com at {NOW}: the server refuses"]


def test_a_failed_renewal_before_the_certificate_was_requested(served: Site, tmp_path: Path) -> None:
    renewal(tmp_path, 1)
    later = time.time() + 3
    os.utime(tmp_path / served.certificate / "fullchain.pem", (later, later))
    assert lines(tmp_path, served)[1:] == []


def test_a_reload_that_failed(served: Site, tmp_path: Path) -> None:
    write(tmp_path, {"time": NOW, "exit_code": 1, "error": "nginx: no", "hubs": {"jupyterhub": {"exit_code": 0}}})
    assert lines(tmp_path, served)[1:] == [f"RENEWAL FAILED for jupyterhub.example.com at {NOW}: nginx: no"]


def test_the_failure_of_another_hub_is_not_shown(served: Site, tmp_path: Path) -> None:
    hubs = {"jupyterhub": {"exit_code": 0}, "lab": {"exit_code": 1}}
    write(tmp_path, {"time": NOW, "exit_code": 1, "error": "lab: no", "hubs": hubs})
    assert lines(tmp_path, served)[1:] == []


def test_checks_that_have_stopped(served: Site, tmp_path: Path) -> None:
    write(tmp_path, {"time": "2026-11-20T18:00:00+00:00", "exit_code": 0, "hubs": {}})
    assert lines(tmp_path, served)[1:] == [
        "NOT RENEWED: the front has not checked its certificates since 2026-11-20T18:00:00+00:00; read its log"
    ]


def test_an_older_certificate_is_served(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(reachability, "read_rules", str)
    authority = Authority()
    chains = [authority.issue(served.domain, days=days) for days in (5.5, 50.5)]
    for name, text in (("fullchain.pem", chains[1].chain), ("privkey.pem", chains[1].key)):
        (tmp_path / served.certificate / name).write_text(text)
    (tmp_path / "root.pem").write_text(authority.root)
    with serve_certificate(chains[0], tmp_path) as port:
        _, line = lines(tmp_path, replace(served, https_port=port))
    where = f"https://{served.domain}:{port}/ (at 127.0.0.1)"
    assert line == f"NOT IN USE: {where} is served with another certificate, which ends in 5 days; run make site"


def test_a_damaged_record_of_renewals(served: Site, tmp_path: Path) -> None:
    (tmp_path / "acme/last_renewal.json").write_text("{")
    assert "is damaged" in lines(tmp_path, served)[1]


def test_a_firewall_that_blocks_the_port(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "read_rules", lambda: "-P INPUT DROP\n")
    _, line = lines(tmp_path, served)
    assert line == "NOT REACHABLE from other machines: the firewall of this host blocks port 443"
    _, *others = lines(tmp_path, replace(served, bind_address="127.0.0.1"))
    assert others == []
    (line,) = lines(tmp_path, site(https="behind", certificate="", http_port=8080))
    assert line.endswith("the firewall of this host blocks port 8080")


def test_nothing_answers(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    closed = site(https="acme", certificate=served.certificate, https_port=1)
    _, line = lines(tmp_path, closed)
    assert line.startswith("NOT REACHABLE: https://jupyterhub.example.com:1/ (at 127.0.0.1) does not answer")


def test_no_certificate_yet_and_none_at_all(tmp_path: Path) -> None:
    (line,) = lines(tmp_path, site(https="acme", certificate=""))
    assert line.startswith("NO CERTIFICATE for jupyterhub.example.com")
    assert lines(tmp_path, site(https="behind", certificate="")) == []


@pytest.mark.parametrize(
    ("days", "of", "https", "expected"),
    [
        (-3, 90, "acme", "EXPIRED: the certificate for a from B ended 3 days ago"),
        (5, 90, "own", "RENEW SOON: the certificate for a from B ends in 5 days; docs/how-to/https.md#renew-it"),
        (
            22, 90, "acme", "NOT RENEWED: the certificate for a from B ends in 22 days, and should have been renewed; "
            "read the log of the front",
        ),
        (23, 90, "acme", "certificate for a from B, ends in 23 days"),
        (2, 6, "acme", "certificate for a from B, ends in 2 days"),
    ],
)  # fmt: skip
def test_the_end_of_a_certificate(days: int, of: int, https: str, expected: str) -> None:
    found = Certificate(["a"], "B", time.time() + days * 86400 + 60, of * 86400)
    assert status.shown(found, https) == expected
