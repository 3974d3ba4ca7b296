"""The control group of all users' servers, on hosts with and without systemd."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import cgroup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

GIB = cgroup.GIB
INFO = {"CgroupDriver": "cgroupfs", "CgroupVersion": "1", "MemoryLimit": True}
SYSTEMD = {"CgroupDriver": "systemd", "CgroupVersion": "2", "MemoryLimit": True}


@pytest.mark.parametrize(("memory", "limit"), [(64, 57.6), (10, 9), (4, 3), (2, 1), (1, 0.5)])
def test_the_automatic_limit_leaves_a_tenth_or_a_gibibyte(memory: float, limit: float) -> None:
    assert cgroup.automatic_limit(int(memory * GIB)) == pytest.approx(limit * GIB, abs=1)


@pytest.mark.parametrize(
    ("driver", "parent"), [("systemd", "jupyterhub-lab_a.slice"), ("cgroupfs", "/jupyterhub-lab_a")]
)
def test_docker_needs_the_name_of_its_driver(driver: str, parent: str) -> None:
    assert cgroup.parent("lab-a", {"CgroupDriver": driver}) == parent


class Systemctl:
    """Records what it is asked, and answers that the slice is active once it was started."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.active = False

    def __call__(self, *arguments: str, check: bool = True) -> bool:
        self.asked.append(" ".join(arguments))
        self.active |= "--now" in arguments
        return self.active


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    """A host with systemd."""
    found = Systemctl()
    monkeypatch.setattr(cgroup, "systemctl", found)
    monkeypatch.setattr(cgroup, "_is_active", lambda _: found.active)
    monkeypatch.setattr(cgroup, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path / "groups"))
    (tmp_path / "units").mkdir()
    return found


def test_a_slice_is_written_once(systemctl: Systemctl, tmp_path: Path) -> None:
    info = SYSTEMD
    assert cgroup.ensure("lab", info, 2 * GIB, check=True) == ("jupyterhub-lab.slice", True)
    assert not list((tmp_path / "units").iterdir())
    assert cgroup.ensure("lab", info, 2 * GIB, check=False)[1]
    assert "MemoryMax=2147483648\n" in (tmp_path / "units/jupyterhub-lab.slice").read_text()
    assert systemctl.asked[-2:] == ["daemon-reload", "enable --now jupyterhub-lab.slice"]
    assert not cgroup.ensure("lab", info, 2 * GIB, check=False)[1]
    assert cgroup.ensure("lab", info, 0, check=False)[1]
    assert "MemoryMax=infinity\n" in (tmp_path / "units/jupyterhub-lab.slice").read_text()
    systemctl.active = False  # somebody has stopped it
    assert cgroup.ensure("lab", info, 0, check=False)[1]


def test_a_slice_is_removed_once(systemctl: Systemctl, tmp_path: Path) -> None:
    assert cgroup.remove("lab", SYSTEMD, check=False) == ""
    cgroup.ensure("lab", SYSTEMD, GIB, check=False)
    assert cgroup.remove("lab", SYSTEMD, check=True) == "jupyterhub-lab.slice"
    assert cgroup.remove("lab", SYSTEMD, check=False) == "jupyterhub-lab.slice"
    assert systemctl.asked[-2:] == ["disable --now jupyterhub-lab.slice", "daemon-reload"]
    assert not list((tmp_path / "units").iterdir())


def test_the_limit_of_an_active_slice_is_changed_in_the_kernel(systemctl: Systemctl, tmp_path: Path) -> None:
    """With version 1, systemd may keep the old one."""
    info = {**SYSTEMD, "CgroupVersion": "1"}
    cgroup.ensure("lab", info, 2 * GIB, check=False)
    file = tmp_path / "groups/memory/jupyterhub.slice/jupyterhub-lab.slice/memory.limit_in_bytes"
    file.parent.mkdir(parents=True)
    file.write_text(f"{2 * GIB}\n")
    assert not cgroup.ensure("lab", info, 2 * GIB, check=False)[1]
    assert cgroup.ensure("lab", info, 3 * GIB, check=False)[1]
    assert file.read_text() == str(3 * GIB)
    file.write_text(f"{2 * GIB}\n")  # somebody has changed it
    assert cgroup.ensure("lab", info, 3 * GIB, check=True)[1]
    assert cgroup.ensure("lab", info, 3 * GIB, check=False)[1]
    assert not cgroup.ensure("lab", info, 3 * GIB, check=False)[1]


def test_a_slice_without_a_file_for_its_limit_is_left_to_systemd(systemctl: Systemctl, tmp_path: Path) -> None:
    folder = tmp_path / "groups/jupyterhub.slice/jupyterhub-lab.slice"
    folder.mkdir(parents=True)
    assert cgroup.ensure("lab", SYSTEMD, 0, check=False)[1]
    assert not cgroup.ensure("lab", SYSTEMD, 0, check=False)[1]
    assert not list(folder.iterdir())


def test_a_limit_below_what_servers_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(path: str, *arguments: Any, **options: Any) -> Any:
        raise OSError(errno.EBUSY, "Device or resource busy", path)

    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path))
    monkeypatch.setattr(cgroup, "open", busy, raising=False)
    with pytest.raises(DeployError, match=r"the servers of hub lab use more than 1\.0 GiB, .* stop some"):
        cgroup.ensure("lab", INFO, GIB, check=False)


@pytest.mark.parametrize(
    ("info", "memory"),
    [
        (INFO, "memory/jupyterhub-lab/memory.usage_in_bytes"),
        (SYSTEMD, "jupyterhub.slice/jupyterhub-lab.slice/memory.current"),
    ],
)
def test_a_limit_below_what_servers_use_changes_nothing(
    info: dict[str, Any], memory: str, systemctl: Systemctl, tmp_path: Path
) -> None:
    """With version 2, the Linux kernel would end servers."""
    cgroup.ensure("lab", info, 4 * GIB, check=False)
    used = tmp_path / "groups" / memory
    used.parent.mkdir(parents=True, exist_ok=True)
    used.write_text(str(3 * GIB))
    before, asked = {path: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}, len(systemctl.asked)
    for check in (True, False):
        with pytest.raises(DeployError, match=r"the servers of hub lab use more than 2\.0 GiB, .* stop some"):
            cgroup.ensure("lab", info, 2 * GIB, check=check)
    assert {path: path.read_text() for path in before} == before
    assert len(systemctl.asked) == asked
    (used.parent / "memory.stat").write_text(f"inactive_file {GIB}\ntotal_inactive_file {GIB}\n")
    assert cgroup.ensure("lab", info, 2 * GIB, check=False)[1]


def test_half_of_the_processes_of_the_host_are_for_servers(systemctl: Systemctl, tmp_path: Path) -> None:
    most = str(min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("threads-max", "pid_max")) // 2)
    cgroup.ensure("lab", SYSTEMD, GIB, check=False)
    assert f"TasksMax={most}\n" in (tmp_path / "units/jupyterhub-lab.slice").read_text()

    cgroup.ensure("lab", INFO, GIB, check=False)
    file = tmp_path / "groups/pids/jupyterhub-lab/pids.max"
    file.write_text("max\n")
    for check, changed in ((True, True), (False, True), (False, False)):
        assert cgroup.ensure("lab", INFO, GIB, check=check)[1] == changed
    assert file.read_text() == most
    file.unlink()
    (tmp_path / "groups/memory/jupyterhub-lab/memory.limit_in_bytes").unlink()
    assert cgroup.remove("lab", INFO, check=False) == "jupyterhub-lab"
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("version", "path", "written", "none"),
    [
        ("1", "memory/jupyterhub-lab/memory.limit_in_bytes", "3221225472", str(cgroup.UNLIMITED)),
        ("2", "jupyterhub-lab/memory.max", "3221225472", "max"),
    ],
)
def test_without_systemd_the_run_sets_the_limit(
    version: str, path: str, written: str, none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path))
    info = {**INFO, "CgroupVersion": version}
    assert cgroup.ensure("lab", info, 3 * GIB + 5, check=True) == ("/jupyterhub-lab", True)
    assert not (tmp_path / path).exists()
    assert cgroup.ensure("lab", info, 3 * GIB + 5, check=False)[1]
    assert (tmp_path / path).read_text() == written
    assert not cgroup.ensure("lab", info, 3 * GIB + 5, check=False)[1]
    assert cgroup.ensure("lab", info, 0, check=False)[1]
    assert (tmp_path / path).read_text() == none
    assert cgroup.remove("lab", info, check=True) == "jupyterhub-lab"
    monkeypatch.setattr(cgroup, "REMOVAL_SECONDS", 0)
    assert cgroup.remove("lab", info, check=False) == "", "something runs in it"
    (tmp_path / path).unlink()
    assert cgroup.remove("lab", info, check=False) == "jupyterhub-lab"
    assert cgroup.remove("lab", info, check=False) == ""


@pytest.mark.parametrize(
    ("info", "folder", "names"),
    [
        (INFO, "memory/jupyterhub-lab", ("usage_in_bytes", "limit_in_bytes", "total_inactive_file")),
        ({**INFO, "CgroupVersion": "2"}, "jupyterhub-lab", ("current", "max", "inactive_file")),
        (SYSTEMD, "jupyterhub.slice/jupyterhub-lab.slice", ("current", "max", "inactive_file")),
    ],
)
def test_the_memory_that_all_servers_use(
    info: dict[str, Any], folder: str, names: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "ROOT", str(tmp_path))
    assert cgroup.usage("lab", info) == (0, 0)
    current, most, inactive = names
    directory = tmp_path / folder
    directory.mkdir(parents=True)
    (directory / f"memory.{current}").write_text("5000\n")
    (directory / "memory.stat").write_text(f"anon 4000\n{inactive} 900\n")
    (directory / f"memory.{most}").write_text("8000\n")
    assert cgroup.usage("lab", info) == (4100, 8000)
    (directory / f"memory.{most}").write_text("max" if most == "max" else f"{cgroup.UNLIMITED}\n")
    assert cgroup.usage("lab", info) == (0, 0)


def test_a_host_that_cannot_limit_memory_has_no_control_group() -> None:
    assert cgroup.ensure("lab", {**INFO, "MemoryLimit": False}, GIB, check=False) == ("", False)


def test_an_error_of_systemd_is_reported(systemctl: Systemctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: str, check: bool = True) -> bool:
        if check:
            raise DeployError(f"systemctl {arguments[0]} failed")
        return False

    monkeypatch.setattr(cgroup, "systemctl", fails)
    with pytest.raises(DeployError, match="systemctl daemon-reload failed"):
        cgroup.ensure("lab", SYSTEMD, GIB, check=False)


def test_the_memory_of_the_host_is_known() -> None:
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert cgroup.host_memory() == int(meminfo["MemTotal"].split()[0]) * 1024


def test_limits_in_messages() -> None:
    shown: list[Any] = [cgroup.shown(limit) for limit in (0, 3 * GIB // 2)]
    assert shown == ["none", "1.5 GiB"]
