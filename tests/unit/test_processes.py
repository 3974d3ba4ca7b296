"""Waiting, and other processes of the host."""

from __future__ import annotations

import os
from pathlib import Path

from ansible.module_utils.jupyterhub_deploy import processes


def test_waiting_ends_with_the_condition_or_with_the_time() -> None:
    answers = iter([False, False, True])
    assert processes.wait_until(lambda: next(answers), timeout=60, interval=0)
    assert not processes.wait_until(lambda: False, timeout=0)
    assert processes.wait_until(lambda: True, timeout=0)


def test_a_process_is_found_by_its_pid_file_and_name(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert processes.process_of(str(file), "python") is None
    name = os.path.basename(processes.command_line(os.getpid())[0])
    file.write_text(f"{os.getpid()}\n")
    assert processes.process_of(str(file), name) == os.getpid()
    assert processes.process_of(str(file), "dockerd") is None
    file.write_text("no number")
    assert processes.process_of(str(file), name) is None
    assert processes.command_line(2**22 + 1) == []
