"""Images of three megabytes, made from this machine's own files: which tests pull, push and check in a second."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import docker

# What image_proof's script needs. dash, because it is what /bin/sh is on Debian.
PROGRAMS = {"/bin/sh": "dash", "/bin/sed": "sed", "/usr/bin/id": "id"}


def single_user(version: str) -> dict[str, str]:
    """Return files that imitate an installed jupyterhub-singleuser of that version.

    Its interpreter prints the version, whatever it is asked; that is all a proof asks for.
    """
    return {
        "usr/local/bin/python3": f"#!/bin/sh\necho {version}\n",
        "usr/local/bin/jupyterhub-singleuser": "#!/usr/local/bin/python3\n",
    }


def make(client: Any, name: str, files: dict[str, str], user: str = "1000:100", folder_owner: int = 1000) -> str:
    """Import an image and return its id.

    Args:
        client: a low-level Docker client.
        name: repository and tag.
        files: contents by path; all are executable.
        user: who it runs as.
        folder_owner: uid that owns ``/home/jovyan/work``; a negative one leaves the folder out.
    """
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for place, program in PROGRAMS.items():
            path = subprocess.run(["which", program], check=True, capture_output=True, text=True).stdout.strip()
            _add(tar, place, Path(path).read_bytes())
            for library in re.findall(
                r"(/\S+) \(", subprocess.run(["ldd", path], capture_output=True, text=True).stdout
            ):
                if library.lstrip("/") not in tar.getnames():
                    _add(tar, library, Path(library).read_bytes())
        for path, text in files.items():
            _add(tar, path, text.encode())
        if folder_owner >= 0:
            folder = tarfile.TarInfo("home/jovyan/work")
            folder.type, folder.mode, folder.uid, folder.gid = tarfile.DIRTYPE, 0o755, folder_owner, 100
            tar.addfile(folder)
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.remove_image(name, force=True)
    repository, _, tag = name.rpartition(":")
    client.import_image_from_data(target.getvalue(), repository=repository, tag=tag, changes=[f"USER {user}"])
    return str(client.inspect_image(name)["Id"])


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = len(content), 0o755
    tar.addfile(info, io.BytesIO(content))
