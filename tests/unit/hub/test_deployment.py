"""The recorded version of the deployment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub import deployment, host

import jupyterhub_deployment
from support import modules

NOTHING = {"version": "", "acknowledged": ""}


@pytest.fixture(autouse=True)
def settings_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "SETTINGS_DIR", str(tmp_path / "jupyterhub-deploy"))
    return tmp_path / "jupyterhub-deploy"


def test_nothing_is_recorded_at_first() -> None:
    assert deployment.read("lab") == NOTHING


def test_each_hub_has_a_record_that_everybody_may_read(settings_dir: Path) -> None:
    deployment.write("lab", {"version": "0.2.0", "acknowledged": ""})

    assert deployment.read("lab") == {"version": "0.2.0", "acknowledged": ""}
    assert deployment.read("jupyterhub") == NOTHING
    assert json.loads((settings_dir / "version-lab.json").read_text()) == {"version": "0.2.0"}
    assert (settings_dir / "version-lab.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "", '{"version": 5}', '{"version": ["0.1.0"]}', '{"version": "abc"}', "\xff", "[" * 100_000],
    ids=lambda content: content[:20],
)
def test_a_damaged_record_is_an_error_that_names_the_file(content: str, settings_dir: Path) -> None:
    settings_dir.mkdir()
    (settings_dir / "version-lab.json").write_bytes(content.encode("latin-1"))

    with pytest.raises(DeployError, match=r"version-lab.json cannot be read .* replace it with a file"):
        deployment.read("lab")


def test_a_directory_in_place_of_the_record_is_such_an_error(settings_dir: Path) -> None:
    (settings_dir / "version-lab.json").mkdir(parents=True)

    with pytest.raises(DeployError, match=r"version-lab.json cannot be read .*Is a directory.* replace it with a file"):
        deployment.read("lab")


def test_acknowledging_keeps_the_version_and_provisioning_ends_it() -> None:
    acknowledged = deployment.plan({"version": "0.1.0", "acknowledged": ""}, "", "0.2.0")

    assert acknowledged == {"version": "0.1.0", "acknowledged": "0.2.0"}
    assert deployment.plan(acknowledged, "0.2.0", "") == {"version": "0.2.0", "acknowledged": ""}


def test_status_shows_the_version_and_what_upgrades_it() -> None:
    assert deployment.messages({"version": "0.2.0", "acknowledged": ""}, "0.2.0") == ["deployment version 0.2.0"]
    assert deployment.messages(NOTHING, "0.2.0") == [
        "deployment version not recorded; this checkout is 0.2.0, and `make site` installs it, or `make upgrade` if "
        "there is an earlier hub"
    ]


def test_module_records_once_and_nothing_in_check_mode(settings_dir: Path) -> None:
    def record(check: bool = False) -> bool:
        return bool(modules.run(jupyterhub_deployment, check=check, name="lab", version="0.2.0")["changed"])

    assert record(check=True)
    assert not settings_dir.exists()
    assert record()
    assert not record()
    assert not record(check=True)


def test_module_records_what_was_acknowledged() -> None:
    deployment.write("lab", {"version": "0.1.0", "acknowledged": ""})
    result = modules.run(jupyterhub_deployment, diff=True, name="lab", acknowledged="0.2.0")

    assert result["diff"]["after"] == deployment.read("lab") == {"version": "0.1.0", "acknowledged": "0.2.0"}
