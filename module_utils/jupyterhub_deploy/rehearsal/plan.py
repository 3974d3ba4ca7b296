"""Whether a rehearsal can begin: how many servers fit beside those of real users, and who the temporary users are.

Pure: no I/O.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.text import human_size

PREFIX = "rehearsal-"  # nobody can sign up under it: jupyterhub_deploy_hub.names has the same
MIB = 2**20
# What a server is expected to use before one is measured: the built image needs 82 MiB, and a kernel 60 to 70 MiB more.
SERVER_MEMORY, KERNEL_MEMORY = 100 * MIB, 80 * MIB
AUTOMATIC_MEMORY = 64 * MIB  # for each server with the limit `auto`, as in jupyterhub_deploy_hub.limits
LEAST_RESERVE = 256 * MIB
# A server needs little disk: its log, and the files of Jupyter in a new volume.
SERVER_DISK, FREE_DISK = 20 * MIB, 1024 * MIB
# Without the queue, JupyterHub refuses all starts while 100 are pending. The rest is for real users.
MOST_PENDING = 50


class Memory(NamedTuple):
    """The memory of a host, in bytes.

    :ivar total: all of it.
    :ivar available: what new processes can use.
    :ivar used: by all servers of the hub together; 0 if they have no limit together.
    :ivar limit: of all servers together, 0 for none.
    """

    total: int
    available: int
    used: int = 0
    limit: int = 0

    def left(self) -> int:
        """Return how much more servers can use, below 0 if they use a part of the reserve."""
        of_host = self.available - reserve(self.total)
        return min(of_host, self.limit - self.used - reserve(self.limit)) if self.limit else of_host

    def shown(self) -> str:
        """Return why no more than :meth:`left` is left."""
        if self.limit and self.left() < self.available - reserve(self.total):
            return (
                f"all servers together use {human_size(self.used)} of {human_size(self.limit)} "
                f"(jupyterhub_total_memory_limit), and {human_size(reserve(self.limit))} stay free"
            )
        return f"the host has {human_size(self.available)} available, and {human_size(reserve(self.total))} stay free"


class Places(NamedTuple):
    """The servers of a hub.

    :ivar active: how many run, start or stop.
    :ivar limit: how many can, 0 for no limit.
    :ivar queue: whether starts wait for each other.
    """

    active: int
    limit: int
    queue: bool

    def spare(self) -> int:
        """Return how many of the places are for real users only."""
        return max(self.limit // 10, 1)


class Wanted(NamedTuple):
    """The parameters of a rehearsal.

    :ivar users: how many temporary users start a server.
    :ivar at_once: how many of them request it before the first has one, 0 for all.
    :ivar kernels: whether each starts a kernel, too.
    """

    users: int
    at_once: int = 0
    kernels: bool = False

    def memory(self) -> int:
        """Return what one server is expected to use, in bytes."""
        return SERVER_MEMORY + (KERNEL_MEMORY if self.kernels else 0)

    def shown(self) -> str:
        """Return the temporary users and how they start, for a message."""
        names = f"{PREFIX}1" if self.users == 1 else f"{PREFIX}1 to {PREFIX}{self.users}"
        together = f"{self.at_once} at a time" if 0 < self.at_once < self.users else "all at once"
        return f"{names}, {together}{', each with a kernel' if self.kernels else ''}"


def reserve(memory: int) -> int:
    """Return how much of a memory a rehearsal leaves to everything else, in bytes."""
    return max(memory // 20, LEAST_RESERVE)


def names(users: int) -> list[str]:
    """Return the names of so many temporary users."""
    return [f"{PREFIX}{number}" for number in range(1, users + 1)]


def server_limit(setting: int | str, total_memory: int, host_memory: int) -> int:
    """Return how many servers a hub allows, 0 for no limit.

    :param setting: ``server_limit`` of the hub's settings: a number or ``auto``.
    :param total_memory: of all servers together, 0 for no limit; in bytes as the other one.
    """
    return (total_memory or host_memory) // AUTOMATIC_MEMORY if setting == "auto" else int(setting)


def check_numbers(wanted: Wanted) -> None:
    """Check the parameters, as far as they need no host.

    :raises DeployError: one is wrong.
    """
    for name, number in (("users", wanted.users), ("at_once", wanted.at_once)):
        if number < 0:
            raise DeployError(f"{name} is {number}; use a whole number of 0 or more; nothing was changed")


def check_space(wanted: Wanted, memory: Memory, places: Places, disk: int) -> None:
    """Check that the servers of a rehearsal fit beside those of real users.

    :param disk: bytes that are free where Docker keeps containers and volumes.
    :raises DeployError: they do not; the message says how many do.
    """
    fitting = {
        f"a server needs about {human_size(wanted.memory())} of memory, and {memory.shown()}": memory.left()
        // wanted.memory(),
        f"a server needs about {human_size(SERVER_DISK)} of disk, and Docker's has {human_size(disk)} free, of which "
        f"{human_size(FREE_DISK)} stay free": (disk - FREE_DISK) // SERVER_DISK,
    }
    if places.limit:
        reason = (
            f"{places.active} of {places.limit} servers (jupyterhub_server_limit) are running, and a rehearsal leaves "
            f"{places.spare()} to real users"
        )
        fitting[reason] = places.limit - places.active - places.spare()
    reason, most = min(fitting.items(), key=lambda one: one[1])
    if wanted.users > most:
        advice = f"pass -e users={most} or less" if most > 0 else "stop servers that nobody needs, or rehearse later"
        raise DeployError(
            f"users is {wanted.users}, and only {max(most, 0)} more servers fit: {reason}; nothing was changed; "
            f"{advice}"
        )
    if not places.queue and (wanted.at_once or wanted.users) > MOST_PENDING:
        raise DeployError(
            "the hub has no queue (jupyterhub_concurrent_starts is 0), so it would refuse the starts of real users "
            f"while more than 100 are pending; nothing was changed; pass -e at_once={MOST_PENDING} or less"
        )
