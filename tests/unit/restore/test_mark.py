"""The mark that tells the run after a kill which data is the new one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore import swap


def test_a_mark_is_read_back(tmp_path: Path) -> None:
    swap.mark(str(tmp_path / swap.NEW), {"inode": 42})
    assert swap.read_mark(str(tmp_path / swap.NEW), "inode") == 42
    assert swap.read_mark(str(tmp_path / "none"), "inode") is None
    (tmp_path / "file").write_text('{"inode": 42}', encoding="utf-8")  # as earlier versions wrote it
    assert swap.read_mark(str(tmp_path / "file"), "inode") == 42


@pytest.mark.parametrize(
    "content", ["", "{", "5", "{}", '{"inode": null}', "\xff", "[" * 100_000], ids=lambda text: text[:9]
)
def test_a_damaged_mark_stops_a_restore_and_is_named(tmp_path: Path, content: str) -> None:
    staging = tmp_path / swap.STAGING
    staging.mkdir()
    (tmp_path / swap.DATA).mkdir()
    (staging / swap.NEW).write_bytes(content.encode("latin-1"))
    with pytest.raises(DeployError, match=rf"{staging / swap.NEW}, .* is damaged .*, then remove {staging}$"):
        swap.recover(str(tmp_path))
    assert (staging / swap.NEW).exists()


def test_a_mark_that_is_a_damaged_link_stops_a_restore(tmp_path: Path) -> None:
    (tmp_path / "mark").symlink_to("42x")
    with pytest.raises(DeployError, match="is damaged"):
        swap.read_mark(str(tmp_path / "mark"), "inode")
