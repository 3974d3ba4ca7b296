"""Versions of the hub's configuration on the host: one directory each, never changed once written.

A running hub keeps reading the directory that it was started with, so a new configuration can be tried and given up
without the old one having been touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

KEEP = 3  # directories that stay for a look back, beside those in use


def path(config_dir: str, digest: str) -> str:
    """Return the directory of one version."""
    return os.path.join(config_dir, f"config-{digest}")


def read(directory: str) -> dict[str, str]:
    """Return file name to text of one version; nothing when it does not exist."""
    if not os.path.isdir(directory):
        return {}
    texts = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            texts[name] = file.read()
    return texts


def write(config_dir: str, digest: str, files: dict[str, str]) -> None:
    """Write one version, whole or not at all; readable by root alone.

    A version that is there with other content than its name says (an edit by hand, a torn disk) is written again.

    :raises DeployError: when the file system does not take it; nothing of it is left then.
    """
    target = path(config_dir, digest)
    if read(target) == files:
        return
    staging = tempfile.mkdtemp(prefix=".config-", dir=config_dir)
    try:
        for name, text in files.items():
            descriptor = os.open(os.path.join(staging, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        if os.path.isdir(target):
            shutil.rmtree(target)
        os.rename(staging, target)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise DeployError(
            f"the configuration cannot be written to {config_dir}: {error}; the hub was left as it was"
        ) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def prune(config_dir: str, in_use: set[str], keep: int = KEEP) -> list[str]:
    """Remove old versions and what killed runs left; return the names removed.

    :param in_use: digests that a container mounts; these stay whatever their age.
    :param keep: how many of the others stay, newest first.
    """
    versions = [name for name in os.listdir(config_dir) if name.startswith("config-")]
    others = [name for name in versions if name[len("config-") :] not in in_use]
    others.sort(key=lambda name: os.stat(os.path.join(config_dir, name)).st_mtime, reverse=True)
    leftovers = [name for name in os.listdir(config_dir) if name.startswith(".config-")]
    removed = others[keep:] + leftovers
    for name in removed:
        shutil.rmtree(os.path.join(config_dir, name))
    return sorted(removed)
