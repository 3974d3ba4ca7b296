"""The files of a user's container, through Docker's archives, which also work before the container runs."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import Any

import docker.errors


class ContainerFiles:
    """The files of one container, read in the thread in which its spawner uses Docker."""

    def __init__(self, spawner: Any, container: str) -> None:
        self.spawner = spawner
        self.container = container

    async def text(self, path: str) -> str:
        """Return a small text file, empty if it does not exist."""
        data = await self._archive(path, 1 << 20)
        if not data:
            return ""
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            member = next((archive.extractfile(entry) for entry in archive if entry.isfile()), None)
            return member.read().decode("utf-8", "replace") if member is not None else ""

    async def entry(self, path: str) -> tarfile.TarInfo | None:
        """Return owner and mode of `path`, from the first block of its archive."""
        head = await self._archive(path, 4096)
        if not head:
            return None
        with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as archive:
            return archive.next()

    async def _archive(self, path: str, size: int) -> bytes:
        """Return the first `size` bytes of Docker's archive of `path`, nothing if it does not exist."""

        def read() -> bytes:
            try:
                stream, _ = self.spawner.client.get_archive(self.container, path, chunk_size=size)
            except docker.errors.NotFound:
                return b""
            try:  # Docker keeps the container locked until the stream is closed
                return bytes(next(stream, b""))
            finally:
                stream.close()

        return await asyncio.wrap_future(self.spawner.executor.submit(read))
