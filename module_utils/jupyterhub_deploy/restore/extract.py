"""Extract an archive that was judged beside a volume's data, and see that all of it has arrived."""

from __future__ import annotations

import collections
import contextlib
import os
import stat
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from ansible.module_utils.jupyterhub_deploy.backup import reader
from ansible.module_utils.jupyterhub_deploy.backup.programs import CHUNK, ENVIRONMENT
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
REPORTED = 10  # lines of tar's errors


def check_space(home: str, content: Content, content_size: int, reserve: int = RESERVE) -> None:
    """Make sure that the new tree fits beside the old one.

    :param content_size: bytes of the tar stream; more than the content of all files without their holes.
    :param reserve: bytes that have to be left.
    :raises DeployError: it does not fit.
    """
    found = os.statvfs(home)
    needed, free = content_size + content.entries * BLOCK_OF_DISK + reserve, found.f_bavail * found.f_frsize
    if needed > free:
        raise DeployError(
            f"the file system of {home} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are needed to restore "
            "beside the old data; make room, then try again"
        )
    # A file system that makes inodes as it needs them says that it has none at all.
    if found.f_files and content.entries > found.f_favail:
        raise DeployError(
            f"the file system of {home} can take {found.f_favail} more files and directories, and {content.entries} "
            "are to be restored; make room, then try again"
        )


def extract(
    descriptor: int, backup: Backup, home: str, lock: int | None = None, gaps: Sequence[tuple[int, int]] = ()
) -> list[str]:
    """Extract an archive that was checked to a fresh staging directory; return what GNU tar warned of.

    The bytes go through this process: when it is killed, tar's input ends, and so does tar.

    :param descriptor: of the archive, as it was checked.
    :param lock: descriptor of the volume's lock, which is not free before tar has ended.
    :param gaps: of the archive's :class:`restore_members.Content`; what is there is left out.
    :raises DeployError: tar failed, or is missing.
    """
    tree = make_staging(home)
    try:
        tar = subprocess.Popen(
            [*EXTRACT, f"--directory={tree}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            pass_fds=() if lock is None else (lock,),
        )
    except FileNotFoundError as error:
        raise DeployError("program tar is missing on this host; install the package tar") from error
    assert tar.stdin  # noqa: S101  (for mypy)
    assert tar.stderr  # noqa: S101
    lines = _Lines(tar.stderr)
    try:
        with reader.stream(descriptor, backup) as content, contextlib.suppress(BrokenPipeError):
            _pump(_without(content, gaps), tar.stdin)
    except BaseException:
        tar.kill()
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):
            tar.stdin.close()
        code = tar.wait()
        lines.wait()
        tar.stderr.close()
    if code:
        said = "; ".join(lines.first) or "it said nothing"
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        found = os.statvfs(tree)
        raise DeployError(
            f"tar {how} while it extracted {backup.archive_path} to {tree}: {said}; "
            f"{found.f_bavail * found.f_frsize / 1e6:.0f} MB are free there; the volume's data were left alone"
        )
    return list(lines.first)


def _without(content: IO[bytes], gaps: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Yield a stream to its end in pieces, without what lies in gaps."""
    place = 0
    for begin, end in gaps:
        for until, wanted in ((begin, True), (end, False)):
            while place < until and (chunk := content.read(min(CHUNK, until - place))):
                place += len(chunk)
                if wanted:
                    yield chunk
    while chunk := content.read(CHUNK):
        yield chunk


def _pump(pieces: Iterator[bytes], into: IO[bytes]) -> None:
    """Hand on a stream to its end, also when nobody takes it any more: the other program has to end by itself."""
    taken = True
    for chunk in pieces:
        if taken:
            try:
                into.write(chunk)
            except BrokenPipeError:  # tar says why, and its exit code decides
                taken = False


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
    """Make the staging directory; return the directory in it that the tree goes to.

    :raises DeployError: it cannot be made.
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
                f"tar restored {found_number} {what} to {tree} instead of {least}; the volume's data were left alone"
            )


def _below(tree: str) -> Iterator[os.stat_result]:
    """Yield what the kernel says of everything in a directory that nobody else can change.

    With one directory open at a time and no path longer than a name: the volume's own paths may be as long as paths
    can be, and here each is longer.
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
