"""Images of three megabytes, made from this machine's own files: which tests pull, push and check in a second."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker

# What the script of a smoke test needs. dash, because it is what /bin/sh is on Debian.
PROGRAMS = {"/bin/sh": "dash", "/bin/sed": "sed", "/usr/bin/id": "id"}
SERVER = "/usr/local/bin/jupyterhub-singleuser"
# Opens port 8888 without any Perl module.
LISTEN = 'socket(S, 2, 1, 6); bind(S, pack("S n N x8", 2, 8888, 0)); listen(S, 5); sleep 600'


def single_user(version: str) -> dict[str, str]:
    """Return files that imitate an installed jupyterhub-singleuser of that version.

    Its interpreter prints the version, whatever it is asked, or opens the port of a server. Without a program it ends,
    as Python does without a terminal.
    """
    prints = f"[ $# = 0 ] && exit\n[ $1 = -c ] && echo {version} && exit"
    return {
        "usr/local/bin/python3": f"#!/bin/sh\n{prints}\nexec /usr/bin/perl -e '{LISTEN}'\n",
        SERVER[1:]: "#!/usr/local/bin/python3\n",
    }


def make(
    client: Any, name: str, files: dict[str, str], user: str = "1000:100", folder_owner: int = 1000,
    command: Sequence[str] = (SERVER,),
) -> str:  # fmt: skip
    """Import an image and return its id.

    Args:
        client: a low-level Docker client.
        name: repository and tag.
        files: contents by path; all are executable.
        user: who it runs as.
        command: of its containers.
        folder_owner: uid that owns ``/home/jovyan/work``; a negative one leaves the folder out.
    """
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        programs = {**PROGRAMS, "/usr/bin/perl": "perl"} if SERVER[1:] in files else PROGRAMS
        for place, program in programs.items():
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
    changes = [f"USER {user}", f"CMD {json.dumps(command)}"]
    client.import_image_from_data(target.getvalue(), repository=repository, tag=tag, changes=changes)
    return str(client.inspect_image(name)["Id"])


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size, info.mode = len(content), 0o755
    tar.addfile(info, io.BytesIO(content))
