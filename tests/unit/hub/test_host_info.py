"""Settings that a later module or the host would refuse, found in the call that inspects the host."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.docker import daemon_api
from ansible.module_utils.jupyterhub_deploy.front import preflight
from ansible.module_utils.jupyterhub_deploy.front.preflight import Findings
from ansible.module_utils.jupyterhub_deploy.hub import host, reachability
from ansible.module_utils.jupyterhub_deploy.images import apt_sources
from ansible.module_utils.jupyterhub_deploy.schedule import times

import jupyterhub_host_info

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGRlbW8"
GOOD: dict[str, Any] = {
    "jupyterhub_notebook_image": "quay.io/jupyter/minimal-notebook:2026-07-28",
    "jupyterhub_notebook_images": ["registry.example.com:5000/lab"],
    "jupyterhub_hub_image": "",
    "jupyterhub_images_hub": "",
    "jupyterhub_images_proxy": "",
    "jupyterhub_images_front_image": "",
    "jupyterhub_images_base": "debian:bookworm",
    "jupyterhub_images_repository": "registry.example.com:5000/jupyterhub",
    "jupyterhub_images_ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
    "jupyterhub_backup_schedule": "30 2 * * *",
    "jupyterhub_backup_recipients": ["ssh-ed25519 AAAA alice"],
    "jupyterhub_backup_push_to": "backup@nas.example.com:/srv/backups",
    "jupyterhub_backup_push_host_key": HOST_KEY,
}


@pytest.fixture(autouse=True)
def cron(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "has_systemd", lambda: False)


def test_good_and_empty_settings_have_no_problem() -> None:
    assert jupyterhub_host_info.setting_problems(GOOD) == []
    empty = {name: [] if isinstance(value, list) else "" for name, value in GOOD.items()}
    assert jupyterhub_host_info.setting_problems(empty) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("jupyterhub_notebook_image", "Lab", "jupyterhub_notebook_image: 'Lab' is not an image name: "),
        ("jupyterhub_images_repository", "My Hub", "jupyterhub_images_repository: 'My Hub/hub' is not an image name: "),
        ("jupyterhub_notebook_images", ["lab", "x:"], "jupyterhub_notebook_images: 'x:' is not an image name: "),
        (
            "jupyterhub_images_ca_bundle",
            "/nowhere/ca.pem",
            "jupyterhub_images_ca_bundle: the certificate bundle /nowhere/ca.pem cannot be read on this host (No such",
        ),
        ("jupyterhub_backup_schedule", "02:30", "jupyterhub_backup_schedule is '02:30', and this host has cron "),
        (
            "jupyterhub_backup_recipients",
            ["age1"],
            "jupyterhub_backup_recipients: recipient 1, 'age1', is not a",
        ),
        ("jupyterhub_backup_push_to", "nas", "jupyterhub_backup_push_to is 'nas'; write it as user@host:/directory"),
        ("jupyterhub_backup_push_host_key", "x", "jupyterhub_backup_push_host_key is 'x'; give the other machine's"),
        ("jupyterhub_backup_push_host_key", "", "jupyterhub_backup_push_host_key is ''; give the other machine's"),
    ],
)
def test_a_setting_that_a_module_would_refuse_is_named(name: str, value: Any, message: str) -> None:
    (problem,) = jupyterhub_host_info.setting_problems({**GOOD, name: value})
    assert problem.startswith(message)


def test_systemd_is_asked_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "Failed to parse calendar expression\n")

    monkeypatch.setattr(times, "has_systemd", lambda: True)
    monkeypatch.setattr(times.subprocess, "run", run)
    (problem,) = jupyterhub_host_info.setting_problems(GOOD)
    assert asked == [["systemd-analyze", "calendar", "--", "30 2 * * *"]]
    assert problem == (
        "jupyterhub_backup_schedule is '30 2 * * *', which systemd does not accept: Failed to parse calendar "
        "expression; set it for example to 02:30 or Mon..Fri 02:30 (man systemd.time)"
    )


def test_an_address_of_another_host_is_refused() -> None:
    assert jupyterhub_host_info.address_problems("0.0.0.0") == []
    assert jupyterhub_host_info.address_problems("127.0.0.1") == []
    (problem,) = jupyterhub_host_info.address_problems("192.0.2.1")
    assert problem.startswith("jupyterhub_bind_address is 192.0.2.1, which this host cannot use (Cannot assign")


@pytest.mark.parametrize(
    ("store", "free", "expected"),
    [
        (False, {"containerd": 1}, "docker"), (True, {"containerd": 1}, "containerd"), (True, {"docker": 1}, "docker"),
        (True, {"moved": 1}, "moved"),
    ],
)  # fmt: skip
def test_space_is_measured_where_images_are(
    store: bool, free: dict[str, int], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("docker", "containerd", "moved"):
        (tmp_path / name).mkdir()
    if expected == "moved":
        (tmp_path / "config.toml").write_text(f'version = 2\nroot = "{tmp_path}/moved"\nstate = "/run"\n')
    monkeypatch.setattr(jupyterhub_host_info, "CONTAINERD_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(jupyterhub_host_info, "CONTAINERD_ROOT", str(tmp_path / "containerd"))
    monkeypatch.setattr(host, "free_bytes", lambda path: free.get(Path(path).name, 2))
    status = [["driver-type", "io.containerd.snapshotter.v1"]] if store else [["Backing Filesystem", "extfs"]]
    info = {"DockerRootDir": str(tmp_path / "docker"), "DriverStatus": status, "Images": 1}
    assert jupyterhub_host_info.disk(info) == str(tmp_path / expected)


def test_only_the_disk_of_the_hubs_own_data_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host, "disk_fault", lambda path: "is full")
    volumes = [{"Name": "other-data", "Mountpoint": str(tmp_path)}]
    assert jupyterhub_host_info.data_problem("lab", volumes) is None
    problem = jupyterhub_host_info.data_problem("lab", [*volumes, {"Name": "lab-data", "Mountpoint": str(tmp_path)}])
    assert problem
    assert problem.startswith(f"the disk of {tmp_path}, which has the database of hub lab, is full, so that")


IGNORED = (
    "http-proxy in docker_daemon_options is an option of dockerd's command line, which Docker ignores in daemon.json. "
    "Write proxies: {http-proxy: …}"
)


@pytest.mark.parametrize(
    ("distribution", "wanted", "messages"),
    [
        (
            "Debian 12",
            {"options": {"proxies": {}}},
            [
                "proxies in docker_daemon_options needs Docker 23.0 or newer, and Debian 12 has 20.10.24. Set the "
                "proxy in Docker's systemd unit: docs/how-to/docker.md#an-http-proxy; or set docker_package_source: "
                "docker"
            ],
        ),
        (
            "Debian 12",
            {"minimum_version": "24.0"},
            [
                "Docker 20.10.24 is the newest version in the host's packages, but docker_minimum_version is 24.0; "
                "lower it, or install Docker from Docker's repository (docker_package_source: docker)"
            ],
        ),
        (
            "Debian 12",
            {"options": {"http-proxy": "http://proxy.example.com:3128"}},
            [IGNORED],
        ),
        ("Debian 13", {"options": {"http-proxy": "http://proxy.example.com:3128", "no-proxy": None}}, [IGNORED]),
        ("Debian 12", {"options": {"proxies": None, "mtu": 1450}}, []),
        ("Debian 12", {"options": {"proxies": {}}, "package_source": "docker"}, []),
        ("Debian 13", {"options": {"proxies": {}}}, []),
        ("Ubuntu 22", {"options": {"proxies": {}}, "minimum_version": "24.0"}, []),
    ],
)
def test_a_docker_that_would_not_fit_is_named_before_it_is_installed(
    distribution: str, wanted: dict[str, Any], messages: list[str]
) -> None:
    name, _, major = distribution.partition(" ")
    docker = {"minimum_version": "20.10", "options": {}, "package_source": "distribution", **wanted}
    facts = {"ansible_distribution": name, "ansible_distribution_major_version": major}
    assert jupyterhub_host_info.package_problems(docker, facts) == messages


LOCAL = "file:/srv/mirror/ bookworm bookworm main /etc/apt/sources.list:1 Debian\n"
IMAGES = ("jupyterhub_images_hub", "jupyterhub_images_proxy", "jupyterhub_images_front_image")


@pytest.mark.parametrize(
    ("changes", "targets", "is_problem"),
    [
        ({}, LOCAL, True),
        ({}, "", False),  # the first run downloads the lists
        ({}, "https://packages.example.com/ stable stable main /etc/apt/sources.list:1 Example\n", False),
        ({"jupyterhub_images_base": "debian:bookworm"}, LOCAL, False),
        (dict.fromkeys(IMAGES, "registry.example.com/x:1"), LOCAL, False),
    ],
)
def test_sources_of_which_no_image_can_be_built_are_named_before_docker_is_installed(
    changes: dict[str, str], targets: str, is_problem: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt_sources, "index_targets", lambda: targets)
    monkeypatch.setattr(files, "read_text", lambda path: "deb file:/srv/mirror bookworm main\n")
    found = jupyterhub_host_info.base_problems({**GOOD, "jupyterhub_images_base": "", **changes}, "bookworm")
    assert [text.partition(",")[0] for text in found] == (
        ["apt on this host gets the suite bookworm from file:/srv/mirror/"] if is_problem else []
    )


@pytest.mark.parametrize(("https", "repeated"), [("own", ["is not trusted"]), ("acme", [])])
def test_warnings_about_an_own_certificate_are_returned_for_the_end_of_the_run(
    https: str, repeated: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_api, "get", lambda path: None)
    monkeypatch.setattr(reachability, "read_rules", str)
    monkeypatch.setattr(jupyterhub_host_info, "docker_ready", lambda wanted: True)
    monkeypatch.setattr(jupyterhub_host_info, "package_problems", lambda wanted, facts: [])
    monkeypatch.setattr(jupyterhub_host_info, "base_problems", lambda settings, suite: [])
    monkeypatch.setattr(preflight, "certificate_problems", lambda front, hub: Findings([], ["is not trusted"]))
    front = dict.fromkeys(jupyterhub_host_info.FRONT, "") | {"https": https, "http_port": 1, "https_port": 2}
    params = {
        "name": "lab", "bind_address": "127.0.0.1", "subdomains_of": "", "settings": {}, "front": front, "docker": {},
    }  # fmt: skip
    result = jupyterhub_host_info.run(SimpleNamespace(params=params))
    assert result["certificate_warnings"] == repeated
    assert "is not trusted" in result["warnings"]
