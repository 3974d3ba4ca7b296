"""Packages for pip that need no package index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def make_wheel(directory: Path, name: str, version: str, files: dict[str, str], command: str = "") -> None:
    """Write a wheel of pure Python.

    Args:
        directory: where to.
        files: the text of each module, by its path; ``.data/…`` is installed elsewhere, as the format of wheels says.
        command: a script to install, as ``name=module:function``.
    """
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    data = f"{distribution}-{version}"
    content = {
        **{f"{data}{path}" if path.startswith(".data/") else path: text for path, text in files.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{command}\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / f"{distribution}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)
