"""When a certificate is requested, and what certbot finds; tests/integration/front requests real ones."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front.acme import AcmeSettings
from ansible.module_utils.jupyterhub_deploy.front.acme_request import Acme, acme_settings

from support.factories.certificates import Authority

NAME = "hub.example.com"
SETTINGS = AcmeSettings(email="admin@example.com", server="staging")


class Container:
    """The front's container, in which certbot ends as it is told."""

    def __init__(self, code: int, output: str) -> None:
        self.result = code, output
        self.commands: list[list[str]] = []

    def run(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        return self.result


def acme(folder: Path, *names: str, settings: AcmeSettings = SETTINGS) -> Acme:
    return Acme(str(folder), "lab", names or (NAME,), settings)


@pytest.fixture
def issued(tmp_path: Path) -> Path:
    """A front with a certificate for the name, from the staging server."""
    return put(tmp_path, 60)


def put(folder: Path, days: float) -> Path:
    made = Authority().issue(NAME, days=days)
    (folder / "acme/live/lab").mkdir(parents=True)
    (folder / "acme/live/lab/fullchain.pem").write_text(made.chain)
    (folder / "acme/live/lab/privkey.pem").write_text(made.key)
    (folder / "acme/renewal").mkdir()
    (folder / "acme/renewal/lab.conf").write_text(f"[renewalparams]\nserver = {SETTINGS.url}\n")
    return folder


def test_the_first_certificate_is_requested(tmp_path: Path) -> None:
    reason = acme(tmp_path).reason()
    assert reason == f"a certificate for {NAME} is requested from {SETTINGS.url}"


def test_a_present_certificate_is_kept(issued: Path) -> None:
    assert acme(issued).reason() == ""


def test_other_names_need_a_new_certificate(issued: Path) -> None:
    expected = f"names of the certificate changed: {NAME} → {NAME}, *.{NAME}"
    assert acme(issued, NAME, f"*.{NAME}").reason() == expected


def test_another_server_needs_a_new_certificate(issued: Path) -> None:
    other = acme(issued, settings=AcmeSettings(server="https://acme.example.com/directory"))
    assert other.reason() == f"ACME server changed: {SETTINGS.url} → https://acme.example.com/directory"
    container: Any = Container(0, "")
    other.request(container)
    assert "--force-renewal" in container.commands[0]


def test_an_expired_certificate_is_requested_again(tmp_path: Path) -> None:
    assert acme(put(tmp_path, -1)).reason() == "the certificate has expired"


@pytest.mark.parametrize(
    ("record", "changed", "expected"),
    [
        ('{"hubs": {"lab": {"exit_code": 1}}}', True, "the last renewal failed, and the settings of ACME changed"),
        ('{"hubs": {"lab": {"exit_code": 1}}}', False, ""),
        ('{"hubs": {"lab": {"exit_code": 0}}}', True, ""),
        ('{"hubs": {"other": {"exit_code": 1}}}', True, ""),
        ('{"hubs": null}', True, ""),
        ("{", True, ""),
        ("", True, ""),
    ],
)
def test_changed_settings_are_tried_after_a_failed_renewal(
    record: str, changed: bool, expected: str, issued: Path
) -> None:
    acme(issued).write_settings()
    (issued / "acme/last_renewal.json").write_text(record)
    settings = dataclasses.replace(SETTINGS, email="other@example.com") if changed else SETTINGS
    assert acme(issued, settings=settings).reason() == expected


def test_changed_settings_are_tried_until_a_renewal_or_a_request_has_ended(issued: Path) -> None:
    record, chain = issued / "acme/last_renewal.json", issued / "acme/live/lab/fullchain.pem"
    record.write_text('{"hubs": {"lab": {"exit_code": 1}}}')
    os.utime(chain, (1000, 1000))
    os.utime(record, (2000, 2000))
    acme(issued).write_settings()  # and then the run failed, or was killed
    assert acme(issued).reason()
    later = time.time() + 60
    os.utime(record, (later, later))  # the front has tried with them
    assert acme(issued).reason() == ""
    os.utime(record, (2000, 2000))
    os.utime(chain, (3000, 3000))  # a run has requested a certificate
    assert acme(issued).reason() == ""


def test_a_damaged_certificate_is_named_with_what_to_do(issued: Path) -> None:
    key = issued / "acme/live/lab/privkey.pem"
    key.write_text("")
    expected = rf"the certificate of hub lab in {key.parent} is damaged \(.*\); remove {key.parent} and "
    with pytest.raises(DeployError, match=expected):
        acme(issued).reason()


def test_settings_are_written_once_and_removed_when_they_are_not_needed(tmp_path: Path) -> None:
    with_bundle = AcmeSettings(server="staging", ca_bundle="-----BEGIN CERTIFICATE-----\n")
    first = acme(tmp_path, settings=with_bundle)
    assert first.settings_changed()
    first.write_settings()
    assert not first.settings_changed()
    folder = tmp_path / "acme/settings/lab"
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "certbot.ini"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    second = acme(tmp_path)
    assert second.settings_changed()
    second.write_settings()
    assert [path.name for path in folder.iterdir()] == ["certbot.ini"]

    second.remove()
    assert list(folder.iterdir()) == []


def test_a_failure_is_explained(tmp_path: Path) -> None:
    container: Any = Container(1, "An error: too many certificates already issued")
    with pytest.raises(DeployError, match=rf"no certificate for {NAME} \(hub lab\): .*has reached a limit"):
        acme(tmp_path).request(container)


def test_the_authorities_of_the_server_are_a_file_or_text(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\n")
    assert acme_settings({"ca_bundle": str(path)}).ca_bundle == "-----BEGIN CERTIFICATE-----\n"
    assert acme_settings({"server": "staging"}).ca_bundle == ""


def test_the_credentials_are_one_string() -> None:
    assert acme_settings({"dns_credentials": '{"server": "192.0.2.53"}'}).dns_credentials == {"server": "192.0.2.53"}
    assert acme_settings({"dns_credentials": ""}).dns_credentials == {}
