"""Whether an archive is what its manifest says: size, checksum, and every member read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
import threading
from typing import IO, Any

from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

CHUNK = 1 << 20
DECOMPRESS = {"zstd": ["zstd", "--decompress", "--stdout"], "gzip": ["gzip", "--decompress", "--stdout"]}
# One line for each member, whatever its name is; no member is ever written.
LIST = ["tar", "--list", "--quoting-style=escape", "--blocking-factor=2048", "--file=-"]
# Messages of programs in one language, and names in them escaped the same way everywhere.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


def start(command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    """Start a program of the archive's pipe.

    :raises DeployError: when it is not installed.
    """
    try:
        return subprocess.Popen(command, env=ENVIRONMENT, **streams)
    except FileNotFoundError as error:
        raise DeployError(f"program {command[0]} is missing on this host; install the package {command[0]}") from error


def said(errors: IO[bytes]) -> str:
    """Return the last line that a program wrote to its errors."""
    errors.seek(0)
    lines = errors.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    lines = [line for line in lines if not line.startswith("age: report unexpected")]  # behind each of its errors
    return lines[-1] if lines else "it said nothing"


class _Reading:
    """The pipe that reads an archive's members, fed piece by piece."""

    def __init__(
        self, compression: str, errors: IO[bytes], tar_errors: IO[bytes], streams: contextlib.ExitStack
    ) -> None:
        command, self.unpack = DECOMPRESS.get(compression), None
        if command:
            self.unpack = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            streams.callback(self.unpack.wait)
            streams.callback(self.unpack.kill)
        source = self.unpack.stdout if self.unpack else subprocess.PIPE
        self.tar = start(LIST, stdin=source, stdout=subprocess.PIPE, stderr=tar_errors)
        streams.callback(self.tar.wait)
        streams.callback(self.tar.kill)
        if self.unpack and self.unpack.stdout:
            self.unpack.stdout.close()  # tar's alone, so that the one that is left alone ends
        self.into: Any = self.unpack.stdin if self.unpack else self.tar.stdin
        self.members = 0
        self.counter = threading.Thread(target=self._count, daemon=True)
        self.counter.start()

    def _count(self) -> None:
        stream: Any = self.tar.stdout
        while chunk := stream.read1(CHUNK):
            self.members += chunk.count(b"\n")

    def feed(self, chunk: bytes) -> None:
        """Have a piece read. Once the programs have given up, do nothing: the checksum is still worth knowing."""
        with contextlib.suppress(BrokenPipeError):
            self.into.write(chunk)

    def end(self) -> tuple[bool, bool]:
        """Wait until all is read, and return whether unpacking and reading went well."""
        with contextlib.suppress(BrokenPipeError):
            self.into.close()
        unpacked = self.unpack.wait() == 0 if self.unpack else True
        read = self.tar.wait() == 0
        self.counter.join()
        return unpacked, read


def faults(backup: Backup) -> list[str]:
    """Return what is wrong with a backup, one sentence each; nothing when it is good.

    The archive is read once, in pieces. Its checksum alone would prove that it is what was written; the members are
    read as well, because that is what restoring needs.

    An encrypted archive's members cannot be read here; its checksum says all that can be said.

    :raises DeployError: when a program that reads archives is missing.
    """
    manifest, path = backup.manifest, backup.archive_path
    total, size = hashlib.sha256(), 0
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as tar_errors, contextlib.ExitStack() as streams:
        try:
            file = streams.enter_context(open(path, "rb"))
            plain = manifest.encryption == "none"
            reading = _Reading(manifest.compression, errors, tar_errors, streams) if plain else None
            while chunk := file.read(CHUNK):
                total.update(chunk)
                size += len(chunk)
                if reading:
                    reading.feed(chunk)
        except OSError as error:
            return [f"{path} cannot be read: {error}"]
        found = []
        if size != manifest.size:
            found.append(f"{path} has {size} bytes instead of {manifest.size}")
        if total.hexdigest() != manifest.sha256:
            found.append(f"{path} has the checksum {total.hexdigest()} instead of {manifest.sha256}")
        if not reading:
            return found
        unpacked, read = reading.end()
        if not unpacked:
            found.append(f"{path} cannot be decompressed: {said(errors)}")
        if not read:
            found.append(f"{path} cannot be read by tar: {said(tar_errors)}")
        elif reading.members != manifest.members:
            found.append(f"{path} has {reading.members} members instead of {manifest.members}")
        return found
