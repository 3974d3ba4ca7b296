"""Servers that use too much memory or too many processes, next to another user's, on real Docker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker import cgroup
from ansible.module_utils.jupyterhub_deploy.processes import wait_until

import jupyterhub_resources
from hosts.run import name as run_name
from support.memory import answers, use_together
from support.module_site import ModuleSite
from support.modules import ModuleError, run
from support.poller import Notebook, Poll

NAME = run_name("limits")
MEMORY = "512M"
PIDS = 150
#: Less than twice what one server can use.
TOTAL = "700M"
#: Starts processes until no more can be started; its value is how many there were, and the error.
MANY_PROCESSES = """
import subprocess
started, problem = [], ""
while not problem:
    try:
        started.append(subprocess.Popen(["sleep", "600"]))
    except OSError as error:
        problem = error.strerror
(len(started), problem)
"""


@pytest.fixture(scope="module")
def site(make_site: Callable[[str], ModuleSite]) -> ModuleSite:
    made = make_site(NAME)
    made.settings = {
        "limits": {"memory": MEMORY, "cpu": 0, "pids": PIDS, "shm_size": "64M"},
        "cgroup_parent": limit_all(made, TOTAL)["cgroup_parent"],
    }
    made.run_proxy()
    made.run_hub()
    return made


def limit_all(site: ModuleSite, total: str, check: bool = False) -> dict[str, Any]:
    """Set the memory limit of all servers together, as the role does; return the module's result."""
    return run(jupyterhub_resources, check=check, **site.resource_arguments(), total_memory=total)


@pytest.fixture(scope="module")
def users(site: ModuleSite) -> dict[str, Notebook]:
    """Two users, each with a kernel and its open web socket."""
    return {name: site.notebook(name) for name in ("alice", "bob")}


def test_a_kernel_that_needs_too_much_memory_ends_and_the_user_reads_why(users: dict[str, Notebook]) -> None:
    with Poll(users["bob"]) as poll:
        printed = users["alice"].socket.output("data = b'x' * 2**30", "needed too much memory")
    assert "This server can use 0.5 GiB, for all its notebooks and terminals together, and less" in printed
    assert poll.report.uninterrupted, poll.report
    # The kernel starts again, and its end for another reason is not explained that way.
    assert wait_until(lambda: answers(users["alice"]), 60)
    code = "import os, signal\nprint('before', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(ConnectionError, match="no answer of the kernel in 15 s"):
        users["alice"].socket.output(code, "too much memory", timeout=15)


def test_a_server_with_too_many_processes_does_not_affect_another(users: dict[str, Notebook]) -> None:
    with Poll(users["bob"]) as poll:
        value = users["alice"].socket.execute(MANY_PROCESSES)
        assert users["bob"].socket.execute("import subprocess\nsubprocess.call('true')") == "0"
        time.sleep(3)  # longer than the poll needs
    number = int(value.strip("(").partition(",")[0])
    assert 0 < number < PIDS, value
    assert "Resource temporarily unavailable" in value
    assert poll.report.uninterrupted, poll.report


def test_the_processes_of_all_servers_have_a_limit(site: ModuleSite) -> None:
    limit = Path(cgroup._folder(NAME, site.client.api.info(), "pids"), "pids.max")
    assert limit.read_text().strip() == str(cgroup.tasks_limit())


def test_all_servers_together_cannot_take_the_memory_of_the_hub(site: ModuleSite, users: dict[str, Notebook]) -> None:
    """Both need less than their own limit, and together more than all servers can use."""
    before = site.observe()
    printed, statuses = use_together(users, site.url)
    assert printed
    assert (site.observe(), statuses) == (before, {200})
    assert wait_until(lambda: all(answers(user) for user in users.values()), 60)


def test_the_memory_limit_of_all_servers_is_changed_once(site: ModuleSite, users: dict[str, Notebook]) -> None:
    assert limit_all(site, TOTAL)["changed"] is False
    assert limit_all(site, "2G", check=True)["messages"] == [
        "would be set: the limits of all servers together (memory 2.0 GiB)"
    ]
    assert limit_all(site, "2G")["messages"] == ["set: the limits of all servers together (memory 2.0 GiB)"]
    code = "data = None\ndata = b'x' * (250 << 20)"
    assert [user.socket.execute(code) for user in users.values()] == ["", ""]
    for check in (True, False):
        with pytest.raises(ModuleError, match=rf"the servers of hub {NAME} use more than 0\.5 GiB"):
            limit_all(site, "512M", check=check)
    assert limit_all(site, "2G")["changed"] is False
    assert all(answers(user) for user in users.values())
