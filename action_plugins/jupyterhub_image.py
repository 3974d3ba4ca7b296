"""Action plugin of the module ``jupyterhub_image``: sends the build contexts and shows the progress."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.loader import action_loader

# What an editor or an interpreter leaves behind is not part of an image.
LEFT_OUT = ("__pycache__", ".mypy_cache", ".ruff_cache")
LEFT_OUT_ENDS = (".pyc", "~", ".swp")


def context_files(folder: str) -> dict[str, tuple[bool, bytes]]:
    """Return a build context: by relative path, whether a file is executable, and its contents.

    :raises AnsibleActionFail: when there is no Dockerfile.
    """
    if not os.path.isfile(os.path.join(folder, "Dockerfile")):
        raise AnsibleActionFail(f"{folder} is not a build context: it has no Dockerfile")
    files = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for name in sorted(names):
            path = os.path.join(parent, name)
            if not name.endswith(LEFT_OUT_ENDS):
                with open(path, "rb") as file:
                    files[os.path.relpath(path, folder)] = (os.access(path, os.X_OK), file.read())
    return files


def context_digest(files: dict[str, tuple[bool, bytes]]) -> str:
    """Return a sha256 over names, contents and the executable bit: owner and time depend on who cloned."""
    total = hashlib.sha256()
    for path, (executable, content) in sorted(files.items()):
        total.update(f"{path}\0{executable}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def archive(contexts: dict[str, dict[str, tuple[bool, bytes]]]) -> bytes:
    """Return all contexts as one tarball, each in a folder of its purpose; the same input gives the same bytes.

    Same bytes and times, so that the builder finds its cached layers again.
    """
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for purpose, files in sorted(contexts.items()):
            for path, (executable, content) in sorted(files.items()):
                info = tarfile.TarInfo(f"{purpose}/{path}")
                info.size, info.mode = len(content), 0o755 if executable else 0o644
                tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


class ActionModule(action_loader.get("progress", class_only=True)):  # type: ignore[misc]
    """Show the progress of ``jupyterhub_image``, and send what it builds from."""

    def prepare(self, args: dict[str, Any], folder: str | None) -> dict[str, Any]:
        """Replace each context by its digest; send all of them when there is something to do."""
        contexts, images = {}, []
        for image in args.get("images") or []:
            build = image.get("build")
            if build and build.get("context"):
                files = context_files(build["context"])
                contexts[image["purpose"]] = files
                image = {**image, "build": {**build, "context_digest": context_digest(files)}}
            images.append(image)
        if not folder or not contexts:
            return {**args, "images": images}
        remote = self._connection._shell.join_path(folder, "contexts.tar.gz")
        with tempfile.NamedTemporaryFile() as file:
            file.write(archive(contexts))
            file.flush()
            self._transfer_file(file.name, remote)
        self._fixup_perms2([folder, remote])
        return {**args, "images": images, "archive": remote}
