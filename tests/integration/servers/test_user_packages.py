"""Packages that a user installs stay in their volume, and the server never imports them, on real Docker.

The tests follow one another: a user installs packages, stops the server, and starts it again, twice.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from hosts.run import name as run_name
from support.module_site import ModuleSite
from support.poller import Notebook
from support.site_fixtures import StartSite
from support.wheels import make_wheel

NAME = run_name("packages")
WORK = "/home/jovyan/work"
MEMORY = 512 * 2**20
INSTALL = f"%pip install --quiet --no-index --find-links {WORK}/wheels"
#: For kernels, as operators do for libraries of a course; here, the user can write to it.
EXTRA_CONFIG = f'c.DockerSpawner.environment = {{"PYTHONPATH": "{WORK}/lib"}}\n'
#: docs/how-to/notebook-image.md
SUDO = """
c.HubSpawner.no_new_privileges = False
c.DockerSpawner.extra_host_config = {"cap_add": ["SETUID", "SETGID", "AUDIT_WRITE"]}
"""
KERNEL = '{"argv": ["greet"], "display_name": "Greeting", "language": "text"}'
#: Stops a server that imports it, and records every other program that does.
TRAP = f"""
import sys
with open("{WORK}/imported", "a") as file:
    file.write(" ".join(sys.orig_argv) + "\\n")
if any("singleuser" in argument for argument in sys.orig_argv):
    raise SystemExit("the server has imported the user's package")
"""


@pytest.fixture(scope="module")
def site(start_site: StartSite) -> ModuleSite:
    limits = {"memory": MEMORY, "cpu": 0, "pids": 500, "shm_size": "96M", "tmp_size": 0}
    return start_site(NAME, {"limits": limits}, EXTRA_CONFIG)


@pytest.fixture(scope="module")
def alice(site: ModuleSite) -> Notebook:
    return site.notebook("alice")


@pytest.fixture(scope="module")
def volume(site: ModuleSite, alice: Notebook) -> Path:
    """The files of alice's volume, with wheels for pip."""
    path = Path(site.client.volumes.get(f"{NAME}-user-alice").attrs["Mountpoint"])
    wheels = path / "wheels"
    greeting = {"greeting.py": "def greet():\n    print('hello')\n"}
    for name in ("greeting", "python3"):
        greeting[f".data/data/share/jupyter/kernels/{name}/kernel.json"] = KERNEL
    make_wheel(wheels, "greeting", "1.0", greeting, "greet=greeting:greet")
    make_wheel(wheels, "send2trash", "99.0", {"send2trash/__init__.py": "mine = True\n"})
    make_wheel(wheels, "jupyter-server", "99.0", {"jupyter_server/__init__.py": TRAP})
    (path / "lib").mkdir()
    for name in ("jupyterhub", "sitecustomize"):
        (path / "lib" / f"{name}.py").write_text(TRAP)
    return path


def terminal(notebook: Notebook, command: str) -> str:
    """Return what a command prints in a terminal of JupyterLab, which is a login shell of the server."""
    code = f"import subprocess\nsubprocess.run(['env', '-i', 'bash', '-lc', {command!r}], capture_output=True).stdout"
    return bytes(ast.literal_eval(notebook.socket.execute(code))).decode().strip()


def ask(notebook: Notebook, path: str) -> dict[str, Any]:
    """Return the answer of the server's API."""
    answer = notebook.session.get(f"{notebook.session.url}{notebook.base}api/{path}", timeout=30)
    answer.raise_for_status()
    return dict(answer.json())


def again(notebook: Notebook) -> Notebook:
    """Stop the user's server, and start it again."""
    notebook.session.stop(notebook.name)
    return Notebook(notebook.session, notebook.name)


def test_users_install_packages_and_versions_of_their_own(alice: Notebook, volume: Path) -> None:
    run = alice.socket.execute
    assert run(f"{INSTALL} greeting send2trash==99.0 jupyter-server==99.0") == ""
    assert run("import greeting, send2trash\nsend2trash.mine") == "True"
    (module,) = volume.glob(".python-packages/*/lib/python3*/site-packages/greeting.py")
    assert module.parents[3].name in run("import sys\nsys.version")
    templates = run("from nbconvert.exporters import HTMLExporter\nHTMLExporter().template_paths")
    assert "/opt/jupyter/share/jupyter/nbconvert/templates/lab" in templates
    kernels = ask(alice, "kernelspecs")["kernelspecs"]
    assert {name: found["spec"]["argv"][0] for name, found in kernels.items()} == {"greeting": "greet", "python3": "sh"}
    assert terminal(alice, "greet") == "hello"
    assert terminal(alice, "python -c 'import send2trash; print(send2trash.mine)'") == "True"
    assert "greeting" in terminal(alice, "pip list")
    assert terminal(alice, "pip install --no-index --find-links ~/work/wheels --upgrade greeting; echo $?")[-1] == "0"


def test_the_environment_of_the_server_belongs_to_root(alice: Notebook) -> None:
    run = alice.socket.execute
    assert "PermissionError" in run("open('/opt/jupyter/bin/jupyter', 'a')")
    code = (
        "import os\n"
        "[f'{path}/{name}' for path, _, files in os.walk('/opt/jupyter') for name in ['.', *files]"
        " if not os.path.islink(f'{path}/{name}') and os.access(f'{path}/{name}', os.W_OK)]"
    )
    assert run(code) == "[]"


def test_users_see_the_memory_that_their_server_can_use(alice: Notebook) -> None:
    before = ask(alice, "status")["last_activity"]
    shown = ask(alice, "metrics/v1")
    assert shown["limits"] == {"memory": {"rss": MEMORY, "pss": MEMORY, "warn": False}}
    assert 0 < shown["rss"] < MEMORY
    assert ask(alice, "status")["last_activity"] == before, "an open page keeps the server in use"
    assert alice.socket.execute("import os\nstat = os.statvfs('/dev/shm')\nstat.f_blocks * stat.f_bsize >> 20") == "96"


def test_packages_remain_and_the_server_does_not_import_them(alice: Notebook, volume: Path) -> None:
    old = volume / ".python-packages/3.9/lib/python3.9/site-packages"
    (old / "oldmodule").mkdir(parents=True)
    info = old / "oldmodule-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oldmodule\nVersion: 1.5\n")
    (info / "REQUESTED").touch()

    started = again(alice)
    run = started.socket.execute
    # The kernel has imported what would have stopped the server.
    assert "ipykernel_launcher" in (volume / "imported").read_text()
    assert "singleuser" not in (volume / "imported").read_text()
    assert run("import greeting, send2trash\nsend2trash.mine") == "True"
    explained = started.socket.output("import oldmodule", "%pip install -r")
    assert "oldmodule was installed for Python 3.9, and this server has Python 3." in explained
    assert f"%pip install -r {WORK}/.python-packages/requirements-3.9.txt" in explained
    assert (volume / ".python-packages/requirements-3.9.txt").read_text() == "oldmodule  # was 1.5\n"
    run("%pip uninstall --quiet --yes send2trash")
    assert terminal(started, "python -c 'import send2trash; print(send2trash.mine)' 2>&1").startswith("Traceback")
    assert terminal(started, "python -c 'import send2trash; print(send2trash.__file__)'").startswith("/opt/jupyter/")


def test_with_session_packages_are_in_the_container_and_with_the_recipe_programs_become_root(
    site: ModuleSite, alice: Notebook, volume: Path
) -> None:
    site.settings["user_packages"] = "session"
    site.settings["limits"]["tmp_size"] = "64M"
    site.extra_config = EXTRA_CONFIG + SUDO
    site.run_hub()
    before = sorted(volume.rglob("*"))
    started = again(alice)
    run = started.socket.execute
    assert "ModuleNotFoundError" in run("import greeting")
    assert run(f"{INSTALL} greeting") == ""
    assert run("import greeting\ngreeting.__file__").startswith("'/opt/user/packages/")
    assert sorted(volume.rglob("*")) == before
    # /tmp is limited, and runs programs, as builds of packages need.
    assert terminal(started, "cp /bin/true /tmp && /tmp/true && df --output=size /tmp | tail -1") == "65536"
    assert "No space left on device" in terminal(started, "head -c 65M /dev/zero 2>&1 > /tmp/big; rm /tmp/big")
    # It reads a file of root, by its setuid bit.
    assert terminal(started, "passwd --status").startswith("jovyan ")
