"""What Docker gets by the instructions in docs/how-to/notebook-image.md."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import yaml

from jupyterhub_deploy_hub.container_settings import returned_problems
from jupyterhub_deploy_hub.hardening import hardened
from jupyterhub_deploy_hub.limits import Limits, limited

PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/notebook-image.md"


def section(title: str) -> SimpleNamespace:
    """Return `c` after jupyterhub_extra_config of a section was executed."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^( *)```yaml\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    settings = yaml.safe_load(textwrap.dedent(blocks[-1][1]))
    c = SimpleNamespace(DockerSpawner=SimpleNamespace(), HubSpawner=SimpleNamespace(no_new_privileges=True))
    exec(settings["jupyterhub_extra_config"], {"c": c})
    return c


def host_config(options: dict[str, Any], no_new_privileges: bool = True) -> dict[str, Any]:
    """Return the host configuration of a container, as the spawner sends it to Docker."""
    found = docker.APIClient(version="1.41").create_host_config(**options)
    return hardened(limited(found, Limits()), [], no_new_privileges=no_new_privileges)


def test_gpus_are_for_the_members_of_a_group() -> None:
    options = section("GPUs").DockerSpawner.extra_host_config
    member, other = (
        SimpleNamespace(user=SimpleNamespace(groups=[SimpleNamespace(name=name)])) for name in ("gpu", "staff")
    )
    assert options(other) == {}
    assert returned_problems(options(member), [], ["alice"], True, True) == []
    (request,) = host_config(options(member))["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (-1, [["gpu"]])


def test_sudo_gets_its_capabilities_and_may_gain_privileges() -> None:
    c = section("sudo")
    found = host_config(c.DockerSpawner.extra_host_config, c.HubSpawner.no_new_privileges)
    assert (found["CapDrop"], "SETUID" in found["CapAdd"], found.get("SecurityOpt")) == (["ALL"], True, None)


def test_the_start_script_of_docker_stacks_gets_its_capabilities() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("\n## docker-stacks: ")[2]
    c = SimpleNamespace(DockerSpawner=SimpleNamespace())
    exec(text.partition("```python\n")[2].partition("```")[0], {"c": c})
    options = c.DockerSpawner.extra_host_config
    assert returned_problems(options, [], ["alice"], True, True) == []
    found = host_config(options)
    assert (found["CapDrop"], found["CapAdd"]) == (["ALL"], ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"])
    assert c.DockerSpawner.extra_create_kwargs == {"user": "root"}
