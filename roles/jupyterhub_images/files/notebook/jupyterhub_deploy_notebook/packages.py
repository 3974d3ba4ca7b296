"""The packages that a user installs with pip: in the user's volume, for each version of Python.

Kernels and terminals run the Python of a virtual environment there. It adds its packages to those of the image, and has
precedence. The server itself runs the Python of the image, which never reads them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

#: Belongs to the user, in the container. The link ``packages`` in it leads to the environment, so that the first lines
#: of its scripts stay valid wherever the volume is mounted.
OWN = Path("/opt/user")
#: In the user's volume: a directory for each version of Python, and lists of what is in those of other versions.
HIDDEN = ".python-packages"
#: Bytes of the longest description of a package that is read.
LONGEST = 2**20
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
#: Commands of the image that would otherwise run without the user's packages, and their modules.
COMMANDS = {"pip": "pip", "pip3": "pip", "ipython": "IPython", "ipython3": "IPython"}


def prepare(environ: Mapping[str, str], own: Path = OWN) -> Path:
    """Create the environment of the user's packages, or what is missing in it; return its directory.

    If that is not possible in the volume, which may be full or read-only, it is created in the container, so that the
    packages remain until the server stops. What is complete stays unchanged: a changed volume is backed up again.

    Args:
        environ: of the server; ``JUPYTERHUB_USER_PACKAGES`` is the setting.
        own: the user's directory in the container.
    """
    volume = environ.get("JUPYTERHUB_ROOT_DIR")
    if volume and environ.get("JUPYTERHUB_USER_PACKAGES") != "session":
        directory = Path(volume, HIDDEN, VERSION)
        try:
            _create(directory, own / "packages")
            _list_old(directory.parent)
            return directory
        except Exception as error:  # the user's files may be anything
            print(f"Packages of the user will be lost when the server stops: {error}", file=sys.stderr)
    _create(own / VERSION, own / "packages")
    return own / VERSION


def _create(directory: Path, link: Path) -> None:
    """Create an environment of the image's Python without packages, as ``python -m venv`` does in seconds."""
    python = Path(sys.executable).resolve()
    site = _site(directory)
    for needed in (directory / "bin", site):
        needed.mkdir(parents=True, exist_ok=True)
    _write(directory / "pyvenv.cfg", f"home = {python.parent}\ninclude-system-site-packages = false\n")
    _write(site / "_image.pth", f"{_site(Path(sys.prefix))}\n")
    for name in ("python", "python3", f"python{VERSION}"):
        _link(directory / "bin" / name, python)
    for name, module in COMMANDS.items():
        script = directory / "bin" / name
        if not script.exists():  # pip installs a newer pip with scripts of its own
            script.write_text(f'#!/bin/sh\nexec {link}/bin/python -m {module} "$@"\n')
            script.chmod(0o755)
    _link(link, directory)


def _site(prefix: Path, version: str = VERSION) -> Path:
    return prefix / "lib" / f"python{version}" / "site-packages"


def _write(path: Path, text: str) -> None:
    """Write a file that does not have the text yet; raise OSError for anything but a file, which could block."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(f"{path} is not a file")
    if not path.exists() or path.stat().st_size != len(text.encode()) or path.read_text() != text:
        path.write_text(text)


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink() or path.readlink() != target:
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def _old(base: Path) -> Iterable[tuple[str, Path]]:
    """Yield the other versions of Python for which the user has packages, and where these are."""
    for directory in sorted(base.iterdir()):
        if re.fullmatch(r"3\.\d+", directory.name) and directory.name != VERSION:
            yield directory.name, _site(directory, directory.name)


def _requirements(base: Path, version: str) -> Path:
    return base / f"requirements-{version}.txt"


def _list_old(base: Path) -> None:
    """Write what the user has installed for other versions of Python, for ``pip install -r``."""
    for version, site in _old(base):
        file = _requirements(base, version)
        if site.is_dir() and (not file.exists() or file.stat().st_mtime < site.stat().st_mtime):
            _write(file, requirements(_readable(site)))


def _readable(site: Path) -> Iterable[Distribution]:
    """Yield the packages whose descriptions are files of a usual size: another one could block the server's start."""
    for directory in site.glob("*.dist-info"):
        try:
            described = directory / "METADATA"
            others = [file for name in ("REQUESTED", "direct_url.json") if (file := directory / name).exists()]
            usual = all(file.is_file() and file.stat().st_size <= LONGEST for file in (described, *others))
            # Without a text in METADATA, the library reads other files.
            if usual and described.stat().st_size:
                yield Distribution.at(directory)
        except OSError:
            continue


def requirements(found: Iterable[Distribution]) -> str:
    """Return the lines for what the user asked pip for, without dependencies, which pip installs by itself.

    Without versions, since the old ones may not exist for a newer Python. What did not come from the package index is a
    comment: the index may have something else of that name.
    """
    lines = {}
    for one in found:
        name, version = one.metadata["Name"], one.version
        if name and one.read_text("REQUESTED") is not None:
            other = one.read_text("direct_url.json") is not None
            lines[name.lower()] = (
                f"# not from the package index: {name} {version}\n" if other else f"{name}  # was {version}\n"
            )
    return "".join(lines[name] for name in sorted(lines))


def hint(module: str, base: Path) -> str:
    """Return what to tell a user whose import of a module failed; empty if no other version of Python had it."""
    name = module.partition(".")[0]
    for version, site in _old(base) if base.name == HIDDEN else ():
        if name and ((site / name).is_dir() or any(site.glob(f"{name}.*"))):
            return (
                f"{name} was installed for Python {version}, and this server has Python {VERSION}. "
                f"Install your packages again:\n\n    %pip install -r {_requirements(base, version)}\n"
            )
    return ""


def load_ipython_extension(shell: Any) -> None:
    """Explain failed imports in a kernel, below the traceback. The kernel's ``kernel.json`` names this module."""

    def explain(shell: Any, kind: type, error: ModuleNotFoundError, trace: Any, tb_offset: int | None = None) -> None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
        text = hint(error.name or "", Path(sys.prefix).resolve().parent)
        if text:
            print(text, file=sys.stderr)

    shell.set_custom_exc((ModuleNotFoundError,), explain)
