"""The loop in the front's image that renews certificates, with programs that only write down how they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import renew

#: Notes its arguments. `fail-<hub>` makes it fail for that hub, `due-<hub>` renews.
CERTBOT = """\
#!/bin/sh
echo "certbot $* $REQUESTS_CA_BUNDLE" >> {place}/calls
for hub; do :; done
[ ! -e {place}/fail-$hub ] || {{ printf 'first\\n\\n- - - -\\nrefused: c2VjcmV0c2VjcmV0\\n'; exit 1; }}
[ ! -e {place}/due-$hub ] || ln -sfn ../../archive/$hub/fullchain2.pem {place}/front/acme/live/$hub/fullchain.pem
"""
NGINX = """\
#!/bin/sh
echo "nginx $*" >> {place}/calls
[ ! -e {place}/fail-nginx ] || {{ echo 'unknown directive'; exit 1; }}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a front of two hubs, and with the programs."""
    for name, text in (("certbot", CERTBOT), ("nginx", NGINX)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.format(place=tmp_path), encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    for hub in ("lab", "physics"):
        for part in ("renewal", f"live/{hub}", f"archive/{hub}", f"settings/{hub}"):
            (tmp_path / "front/acme" / part).mkdir(parents=True, exist_ok=True)
        acme = tmp_path / "front/acme"
        (acme / f"renewal/{hub}.conf").touch()
        for number in (1, 2):
            (acme / f"archive/{hub}/fullchain{number}.pem").touch()
        (acme / f"live/{hub}/fullchain.pem").symlink_to(f"../../archive/{hub}/fullchain1.pem")
        (acme / f"settings/{hub}/certbot.ini").write_text("email = alice@example.com\n", encoding="utf-8")
    return tmp_path


def calls(place: Path) -> list[str]:
    """Return the calls of programs."""
    path = place / "calls"
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def result(place: Path) -> dict[str, object]:
    """Return the result of the last round."""
    found: dict[str, object] = json.loads((place / "front/acme/last_renewal.json").read_text(encoding="utf-8"))
    return found


def test_each_hub_is_renewed_with_its_settings_and_nginx_is_left_alone(place):
    front = place / "front"
    (front / "acme/settings/physics/ca.pem").touch()
    known = renew.served(front)
    assert renew.renew_all(front, known) == known
    settings = front / "acme/settings"
    assert calls(place) == [
        f"certbot renew --config {settings}/lab/certbot.ini --cert-name lab ",
        f"certbot renew --config {settings}/physics/certbot.ini --cert-name physics {settings}/physics/ca.pem",
    ]
    found = result(place)
    assert (found["exit_code"], found["error"]) == (0, "")


def test_nginx_reloads_once_for_new_certificates(place):
    front, known = place / "front", renew.served(place / "front")
    for hub in ("lab", "physics"):
        (place / f"due-{hub}").touch()
    now = renew.renew_all(front, known)
    assert now["lab"].endswith("archive/lab/fullchain2.pem")
    assert calls(place)[2:] == [f"nginx -c {front}/nginx.conf -t -q", f"nginx -c {front}/nginx.conf -s reload"]
    renew.renew_all(front, now)
    assert len(calls(place)) == 6


def test_nginx_reloads_for_a_certificate_that_an_earlier_round_could_not_announce(place):
    front, known = place / "front", renew.served(place / "front")
    (place / "due-lab").touch()
    (place / "fail-nginx").touch()
    assert renew.renew_all(front, known) == known
    assert result(place)["error"] == "unknown directive"
    assert result(place)["exit_code"] == 1
    (place / "fail-nginx").unlink()
    assert renew.renew_all(front, known) != known
    assert result(place)["exit_code"] == 0


def test_a_failure_of_one_hub_does_not_stop_the_others_and_shows_no_secret(place):
    front = place / "front"
    (place / "fail-lab").touch()
    (front / "acme/settings/lab/dns.ini").write_text('dns_x_token = "c2VjcmV0c2VjcmV0"\n', encoding="utf-8")
    renew.renew_all(front, renew.served(front))
    found = result(place)
    assert found["exit_code"] == 1
    assert found["error"] == "lab: first\nrefused: …"
    assert found["hubs"] == {
        "lab": {"exit_code": 1, "error": "first\nrefused: …"},
        "physics": {"exit_code": 0, "error": ""},
    }


def test_the_key_of_an_external_account_is_a_secret(place):
    settings = place / "front/acme/settings/lab"
    settings.joinpath("certbot.ini").write_text("server = https://acme.example.com/dir\neab-hmac-key = aG1hYyBrZXk\n")
    assert renew.secrets(settings) == ["aG1hYyBrZXk"]


def test_a_certificate_without_settings_is_not_renewed(place):
    (place / "front/acme/settings/lab/certbot.ini").unlink()
    assert renew.hubs(place / "front") == ["physics"]


def test_a_program_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert renew.run(["certbot"]) == (127, "certbot cannot be run: No such file or directory")
