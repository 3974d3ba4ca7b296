"""Which volumes can be backed up, and what is reported about one."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.backup import runner, settings
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.docker.volumes import Volume
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.progress import Reporter


def volume(name: str, hub: str | None = None, user: str | None = None, **more: Any) -> Volume:
    labels = {key: value for key, value in ((LABEL_HUB, hub), (LABEL_USER, user)) if value is not None}
    return Volume.of({"Name": name, "Driver": "local", "Labels": labels or None, "Options": None, **more})


def test_a_volume_named_like_the_folder_of_the_hub_is_refused() -> None:
    assert (runner.refusal(volume("hub"), ()) or "").startswith("volume hub has a name that backups use")
    assert runner.refusal(volume("a1"), ()) is None


@pytest.mark.parametrize(
    ("files", "shown"), [({}, "0 B in 1 entry, stored as "), ({"a": b"x" * 1500}, "1.5 kB in 2 entries, stored as ")]
)
def test_the_line_of_a_volume_has_the_size_of_its_files(
    files: dict[str, bytes], shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tar stream has at least 1 MiB, with zeros at its end."""
    (tmp_path / "data").mkdir()
    for name, content in files.items():
        (tmp_path / "data" / name).write_bytes(content)
    options = {name: option.get("default") for name, option in settings.BACKUP.items()}
    options.update(name="lab", directory=str(tmp_path / "backups"), compression="none")
    run = runner.Runner(None, settings.load(settings.BackupSettings, options), False, Reporter("-"))

    run.back_up_directory("lab-user-alice", volume("lab-user-alice"), str(tmp_path / "data"))

    assert capsys.readouterr().out.startswith(f"lab-user-alice: {shown}")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "/backups cannot be written: No space left on device; make"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "/x cannot be written: No space left on device; make"),
        (shutil.Error([("/a", "/b", "[Errno 28] No space left on device")]), "[Errno 28] No space left on device"),
        (DeployError("the hub's database is damaged"), "the hub's database is damaged"),
    ],
)
def test_a_full_disk_is_named(error: Exception, text: str) -> None:
    assert runner.explain(error, "/backups").startswith(text)
