"""Molecule's scenarios, with the images from a private registry."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from hosts.hosts import ROOT
from hosts.registry import Registry


def environment(registry: Registry, home: Path) -> dict[str, str]:
    """Return the environment for Molecule and for playbooks with the settings of its scenarios.

    Args:
        registry: has the images ``hub:test``, ``proxy:test`` and so on.
        home: an empty directory; all that is remembered of the scenarios is in it.
    """
    return {
        **os.environ,
        "JHD_REGISTRY": registry.server,
        "JHD_REGISTRY_USER": registry.username,
        "JHD_REGISTRY_PASSWORD": registry.password,
        "ANSIBLE_HOME": str(home),
        "NO_COLOR": "1",
        "ANSIBLE_NOCOLOR": "1",
    }


def state(environ: dict[str, str], scenario: str) -> Path:
    """Return the directory of the state of a scenario's servers."""
    # By default, all runs from one checkout share one.
    return Path(environ["ANSIBLE_HOME"]) / f"molecule-{scenario}"


def molecule(
    log: Path, environ: dict[str, str], scenario: str, command: str, *arguments: str, fails: bool | None = False
) -> str:
    """Run a command of Molecule; return what it printed.

    Args:
        fails: whether that is what is wanted; ``None`` accepts both.
    """
    directory = state(environ, scenario)
    with log.open("w", encoding="utf-8") as stream:
        code = subprocess.run(
            ["molecule", command, "--scenario-name", scenario, *arguments],
            cwd=ROOT, env={**environ, "MOLECULE_EPHEMERAL_DIRECTORY": str(directory)}, check=False, timeout=2400,
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
        ).returncode  # fmt: skip
    output = log.read_text(encoding="utf-8", errors="replace")
    assert fails is None or bool(code) == fails, f"{log} ends:\n{output[-8000:]}"
    assert fails is None or (directory / "state.yml").exists(), "Molecule keeps the state of this run elsewhere"
    return output


def play(environ: dict[str, str], inventory: Path, *arguments: str, fails: bool = False) -> str:
    """Run a playbook with the settings of a scenario; return what it printed.

    Args:
        inventory: a directory with ``hosts.yml`` and the scenario's ``group_vars``.
    """
    done = subprocess.run(
        ["ansible-playbook", *arguments, "-i", inventory], cwd=ROOT, env=environ, text=True,
        check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert bool(done.returncode) == fails, done.stdout
    return done.stdout
