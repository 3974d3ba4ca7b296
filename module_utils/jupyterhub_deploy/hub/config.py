"""Releases of the hub's configuration on the host: one directory each, never changed once written.

A running hub keeps reading the directory that it was started with, also after a reboot. So a new configuration can be
tried and given up without touching the old one. The secrets of authenticators are part of a release, so that they
always fit the settings beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from typing import Any

from ansible.module_utils.jupyterhub_deploy.containers.hub_spec import CA_FILE, CONFIG_TARGET
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.files import read_text, sync_directory, write_atomically
from ansible.module_utils.jupyterhub_deploy.images import build

SETTINGS = "settings.json"  # which jupyterhub_config.py reads
KEEP = 3  # directories that are kept for reference, beside those in use
# The secret traits of authenticators (see signin.py in the hub image).
SIGN_IN = "authenticators.json"
# Where it used to be, apart from the settings that it belongs to. Delete this after version 1.0.
LEGACY_SIGN_IN = os.path.join("secrets", SIGN_IN)


def sign_in_file(values: dict[str, Any]) -> dict[str, str]:
    """Return the file with the sign-in secrets (name to text), nothing when there are none.

    :param values: name of the authenticator to trait to value.
    """
    return {SIGN_IN: json.dumps({"values": values}, sort_keys=True)} if values else {}


def ca_file(path: str) -> dict[str, str]:
    """Return the file with the certificate authorities (name to text), nothing when ``path`` is empty.

    :raises DeployError: it cannot be read, or is not a PEM file.
    """
    if not path:
        return {}
    content = build.read_certificates(path)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise DeployError(
            f"{path} in jupyterhub_ca_bundle is not a PEM file with certificates; "
            "convert it with openssl x509 -inform der -in FILE"
        )
    return {CA_FILE: content.decode(errors="replace")}


def path(config_dir: str, digest: str) -> str:
    """Return the directory of one release."""
    return os.path.join(config_dir, f"config-{digest}")


def read(directory: str) -> dict[str, str]:
    """Return file name to text of one release; nothing when it does not exist."""
    if not os.path.isdir(directory):
        return {}
    texts = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
            texts[name] = file.read()
    return texts


def settings_of(container: dict[str, Any] | None) -> dict[str, Any]:
    """Return the settings that a hub runs with; nothing when they cannot be read.

    :param container: Docker's description of the hub's container.
    """
    mounts = {mount["Destination"]: mount["Source"] for mount in (container or {}).get("Mounts") or []}
    try:
        found = json.loads(read_text(os.path.join(mounts.get(CONFIG_TARGET, "/"), SETTINGS)) or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write(config_dir: str, digest: str, files: dict[str, str]) -> None:
    """Write one release, whole or not at all; only root can read it.

    A release that exists with other content than its digest says (edited by hand, damaged) is written again.

    :raises DeployError: the file system does not accept it; nothing of it remains.
    """
    target = path(config_dir, digest)
    if read(target) == files:
        return
    staging = tempfile.mkdtemp(prefix=".config-", dir=config_dir)
    try:
        for name, text in files.items():
            write_atomically(os.path.join(staging, name), text)
        if os.path.isdir(target):
            shutil.rmtree(target)
        os.rename(staging, target)
        sync_directory(config_dir)
    except OSError as error:
        raise DeployError(
            f"the configuration cannot be written to {config_dir}: {error.strerror}; the hub was left as it was"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # renamed when all went well


def prune(config_dir: str, in_use: set[str], keep: int = KEEP) -> list[str]:
    """Remove old releases and what killed runs left; return the names removed.

    :param in_use: digests that a container mounts; these are kept whatever their age.
    :param keep: how many of the others are kept, newest first, without their sign-in secrets.
    """
    versions = [name for name in os.listdir(config_dir) if name.startswith("config-")]
    others = [name for name in versions if name[len("config-") :] not in in_use]
    others.sort(key=lambda name: os.stat(os.path.join(config_dir, name)).st_mtime, reverse=True)
    leftovers = [name for name in os.listdir(config_dir) if name.startswith(".config-")]
    removed = others[keep:] + leftovers
    for name in removed:
        shutil.rmtree(os.path.join(config_dir, name))
    for secret in [os.path.join(name, SIGN_IN) for name in others[:keep]] + [LEGACY_SIGN_IN]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(config_dir, secret))
    return sorted(removed)
