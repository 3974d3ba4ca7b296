"""Files of a container, from the archives that Docker makes of them."""

from __future__ import annotations

import asyncio
import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from jupyterhub_deploy_hub.container_files import ContainerFiles


class Stream:
    """Docker's answer, which keeps the container locked until it is closed."""

    def __init__(self, data: bytes, size: int) -> None:
        self.blocks = iter([data[start : start + size] for start in range(0, len(data), size)])
        self.closed = False

    def __next__(self) -> bytes:
        return next(self.blocks)

    def close(self) -> None:
        self.closed = True


class Client:
    """Docker with one container, whose archives are by path."""

    def __init__(self, archives: dict[str, bytes]) -> None:
        self.archives, self.streams = archives, list[Stream]()

    def get_archive(self, container: str, path: str, chunk_size: int) -> tuple[Stream, Any]:
        assert container == "c1"
        if path not in self.archives:
            raise docker.errors.NotFound(path)
        self.streams.append(Stream(self.archives[path], chunk_size))
        return self.streams[-1], {}


def archive(name: str, content: bytes = b"", **facts: Any) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in facts.items():
        setattr(entry, key, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def client() -> Client:
    work = archive("work", type=tarfile.DIRTYPE, uid=1000, gid=100, mode=0o750)
    return Client({"/etc/passwd": archive("passwd", b"root:x:0:0\n"), "/home/work": work + bytes(1 << 20)})


def test_texts_and_owners_are_read_and_each_stream_is_closed(client: Client) -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            files = ContainerFiles(SimpleNamespace(client=client, executor=pool), "c1")
            assert await files.text("/etc/passwd") == "root:x:0:0\n"
            assert await files.text("/etc/none") == ""
            assert await files.entry("/etc/none") is None
            entry = await files.entry("/home/work")
            assert entry is not None
            assert (entry.uid, entry.gid, entry.mode) == (1000, 100, 0o750)

    asyncio.run(scenario())
    assert [stream.closed for stream in client.streams] == [True, True]
