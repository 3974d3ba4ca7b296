"""Validate and extract an archive beside a volume's data, and compare the result with what the archive holds."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

from ansible.module_utils.jupyterhub_deploy.backup import programs, reader
from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK
from ansible.module_utils.jupyterhub_deploy.backup.store import Backup
from ansible.module_utils.jupyterhub_deploy.backup.tar_headers import shown
from ansible.module_utils.jupyterhub_deploy.backup.tar_members import Content
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.restore.swap import DATA, STAGING

# Owners by number, since the names are those of the host; --acls and --xattrs bring back what they took to the archive.
# `--delay-directory-restore`: a directory's mode and time come last, or a hard link that is made later would change the
# time. No option leaves out setuid bits: they were in the volume too.
# Neither `--keep-old-files` nor `--no-overwrite-dir`: the volume's own directory would keep the mode that staging has.
EXTRACT = [
    "tar",
    "--extract",
    "--file=-",
    "--blocking-factor=2048",
    "--preserve-permissions",
    "--same-owner",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--delay-directory-restore",
    "--quoting-style=escape",
    "--warning=no-timestamp",
]
RESERVE = 64 << 20  # bytes that have to be left on the file system
BLOCK_OF_DISK = 4096  # what the smallest file takes on the usual file systems
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
F_SETPIPE_SZ = 1031  # of Linux; Python has a name for it since 3.10
REPORTED = 10  # lines of tar's errors


def check_space(home: str, backup: Backup, reserve: int = RESERVE) -> None:
    """Check that the new tree fits beside the old one. The archive's validation accepts no more than its manifest says.

    :param reserve: bytes that have to be left.
    :raises DeployError: it does not fit.
    """
    found, manifest = os.statvfs(home), backup.manifest
    # The stream is larger than the content of all files without their holes.
    needed = manifest.content_size + manifest.members * BLOCK_OF_DISK + reserve
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise DeployError(
            f"the file system of {home} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are needed to restore "
            "beside the old data; make room, then try again"
        )
    # A file system that makes inodes as it needs them reports that it has none at all.
    if found.f_files and manifest.members > found.f_favail:
        raise DeployError(
            f"the file system of {home} can take {found.f_favail} more files and directories, and {manifest.members} "
            "are to be restored; make room, then try again"
        )


class _TarEndedError(Exception):
    """tar has stopped reading its input."""


def extract(descriptor: int, backup: Backup, home: str, lock: int | None = None) -> Content:
    """Validate an archive and extract it to a new staging directory, in one pass; return what it holds.

    The bytes go through this process: when it is killed, tar's input ends, and so does tar. tar gets the header of a
    member only after its validation. When this raises an error, discard the staging directory.

    :param descriptor: of the archive.
    :param lock: descriptor of the volume's lock, which tar holds until it ends.
    :raises DeployError: the archive cannot be restored, tar failed or warned, or is missing.
    """
    tree = make_staging(home)
    tar = programs.start(
        [*EXTRACT, f"--directory={tree}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=() if lock is None else (lock,),
        bufsize=CHUNK,
    )
    assert tar.stdin  # noqa: S101  (for mypy)
    assert tar.stderr  # noqa: S101
    into, lines, content = tar.stdin, _Lines(tar.stderr), None
    # With the usual 64 KiB, we would wait while tar extracts a record of 1 MiB, and tar while we fill the next one.
    with contextlib.suppress(OSError):  # the host may allow less
        fcntl.fcntl(into, F_SETPIPE_SZ, CHUNK)

    def write(data: bytes) -> None:
        try:
            into.write(data)
        except BrokenPipeError as error:  # tar reports why, and its exit status decides
            raise _TarEndedError from error

    try:
        with contextlib.suppress(_TarEndedError):
            content = reader.validate(descriptor, backup, write)
    except BaseException:
        tar.kill()
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            into.close()
        code = tar.wait()
        lines.wait()
        tar.stderr.close()
    if code or content is None:
        messages = "; ".join(lines.first) or "no error message"
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        found = os.statvfs(tree)
        raise DeployError(
            f"tar {how} while it extracted {backup.archive_path} to {tree}: {messages}; "
            f"{found.f_bavail * found.f_frsize / 1e6:.0f} MB are free there; the volume keeps its data"
        )
    if lines.first:
        # tar only warns when it cannot set an attribute or an access list; data are lost all the same.
        raise DeployError(f"tar could not restore all of {backup.archive_path}: {'; '.join(lines.first)}")
    return content


class _Lines:
    """The first lines of a program's errors, read while it runs."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.first: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stream:
            if len(self.first) < REPORTED:
                self.first.append(shown(line.rstrip(b"\n")))

    def wait(self) -> None:
        self._thread.join()


def make_staging(home: str) -> str:
    """Create the staging directory; return the directory in it for the tree.

    :raises DeployError: it cannot be created.
    """
    staging = os.path.join(home, STAGING)
    tree = os.path.join(staging, DATA)
    try:
        os.mkdir(staging, 0o700)
        os.mkdir(tree, 0o700)
    except OSError as error:
        raise DeployError(f"{staging}, to restore to, cannot be made: {error.strerror}") from error
    return tree


def compare(home: str, content: Content) -> None:
    """Compare what was extracted with what the archive holds.

    :raises DeployError: something is missing, or is more or other than it should be.
    """
    tree = os.path.join(home, STAGING, DATA)
    counts: collections.Counter[int] = collections.Counter({stat.S_IFDIR: 1})
    size, several = 0, set()
    for found in _below(tree):
        kind = stat.S_IFMT(found.st_mode)
        counts[kind] += 1
        if kind == stat.S_IFREG and found.st_ino not in several:
            size += found.st_size
            if found.st_nlink > 1:
                several.add(found.st_ino)
    # A hard link is one more of whatever it is a link to: mostly a file, but a symlink or a FIFO can have one too.
    expected = {
        "entries": (sum(counts.values()), content.entries, content.entries),
        "directories": (counts[stat.S_IFDIR], content.directories, content.directories),
        "symlinks": (counts[stat.S_IFLNK], content.symlinks, content.symlinks + content.links),
        "FIFOs": (counts[stat.S_IFIFO], content.fifos, content.fifos + content.links),
        "files": (counts[stat.S_IFREG], content.files - content.links, content.files),
        "bytes": (size, content.size, content.size),
    }
    for what, (found_number, least, most) in expected.items():
        if not least <= found_number <= most:
            raise DeployError(
                f"tar restored {found_number} {what} to {tree} instead of {least}; the volume keeps its data"
            )


def _below(tree: str) -> Iterator[os.stat_result]:
    """Yield the status of everything in a directory that only root can change.

    One directory is open at a time, and no path is longer than a name: the volume's paths may be as long as the kernel
    permits, and in staging each is longer.
    """
    descriptor = os.open(tree, _OPEN)
    pending: list[list[str]] = []
    try:
        while True:
            folders: list[str] = []
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
            pending.append(folders)
            while pending and not pending[-1]:
                pending.pop()
                descriptor = _step(descriptor, "..")
            if not pending:
                return
            descriptor = _step(descriptor, pending[-1].pop())
    finally:
        os.close(descriptor)


def _step(descriptor: int, name: str) -> int:
    following = os.open(name, _OPEN, dir_fd=descriptor)
    os.close(descriptor)
    return following
