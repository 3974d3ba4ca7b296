"""Backups for tests: archives by GNU tar or block by block by hand, with a manifest that is right or wrong."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.jupyterhub_deploy.backup.manifest import ENDINGS
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup, load, time_of

from support import backup_data
from support.backup_data import COMPRESS

TAR = ["tar", "--create", "--format=posix", "--sparse", "--xattrs", "--acls", "--numeric-owner", "-b", "2048"]
HUB, VOLUME, STEM = "hub1", "hub1-user-alice", "20261123T014440Z"
END = bytes(1024)


def header(name: bytes, kind: bytes = b"0", size: int = 0, target: bytes = b"", **fields: bytes) -> bytes:
    """Return one header block as GNU tar writes it; ``fields`` replaces parts of it by the names below."""
    parts = {
        "mode": b"0000644\0",
        "uid": b"0001750\0",
        "gid": b"0000144\0",
        "size": b"%011o\0" % size,
        "mtime": b"15300716210\0",
        "magic": b"ustar\x0000",
        "owners": bytes(64),
        "device": b"0000000\x000000000\0",
        "prefix": bytes(155),
        "rest": bytes(12),
        **fields,
    }
    before = name.ljust(100, b"\0") + parts["mode"] + parts["uid"] + parts["gid"] + parts["size"] + parts["mtime"]
    after = kind + target.ljust(100, b"\0") + parts["magic"] + parts["owners"] + parts["device"]
    after += parts["prefix"] + parts["rest"]
    total = sum(before) + sum(after) + 8 * 32
    block = before + fields.get("checksum", b"%06o\0 " % total) + after
    assert len(block) == 512
    return block


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """Return an extended header."""
    text = b"".join(record(key, value) for key, value in records)
    return header(b"./PaxHeaders/x", b"x", len(text)) + padded(text)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", target: bytes = b"", **fields: bytes) -> bytes:
    """Return a member with its content."""
    return header(name, kind, len(content), target, **fields) + padded(content)


def folder(name: bytes) -> bytes:
    """Return a directory's member."""
    return member(name, kind=b"5", mode=b"0000755\0")


ROOT = folder(b"./")


def tar_of(tree: Path) -> bytes:
    """Return GNU tar's archive of a directory, as backups have it."""
    return subprocess.run(
        [*TAR, "-f", "-", "-C", tree, "."],
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    ).stdout


def put(
    directory: Path,
    content: bytes,
    members: int,
    *,
    compression: str = "none",
    stem: str = STEM,
    volume: str | None = VOLUME,
    damage: Any = None,
    **manifest: Any,
) -> Backup:
    """Write a backup whose manifest is right in everything that ``manifest`` does not say; return it.

    :param content: the tar stream.
    :param damage: what to make of the archive's file after its checksum was taken.
    """
    path = directory / str(manifest.get("folder", volume))
    path.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(COMPRESS[compression], input=content, check=True, capture_output=True).stdout
    file = path / (stem + ENDINGS[compression])
    file.write_bytes(damage(archive) if damage else archive)
    described = {
        **asdict(backup_data.manifest(time_of(stem), volume, hub=HUB, members=members, compression=compression)),
        "user": "alice",
        "archive": file.name,
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size": len(archive),
        "content_size": len(content),
        **{key: value for key, value in manifest.items() if key != "folder"},
    }
    (path / f"{stem}.json").write_text(json.dumps(described, indent=2, sort_keys=True), encoding="utf-8")
    return load(str(directory), path.name, stem)


def put_tree(directory: Path, tree: Path, **more: Any) -> Backup:
    """Write a backup of a directory."""
    content = tar_of(tree)
    listed = subprocess.run(["tar", "--list", "--quoting-style=escape"], input=content, check=True, capture_output=True)
    return put(directory, content, listed.stdout.count(b"\n"), **more)


def joined(members: Sequence[bytes]) -> bytes:
    """Return an archive of members made by hand."""
    return b"".join(members) + END
