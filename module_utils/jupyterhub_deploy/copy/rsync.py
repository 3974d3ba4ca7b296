"""Another machine that takes backups: reached by SSH with a key for that alone and a given host key, by rsync only.

So it works where the other side allows nothing but rsync (``rrsync``). What rsync and ssh complain of becomes one
sentence that says what to do.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# No blank and no quote: older versions of rsync hand the path to a shell on the other side.
TARGET = re.compile(r"([A-Za-z_][\w.-]*)@(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([\w./~+,=@-]+)")
HOST_KEY = re.compile(r"(?:\S+ )?((?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/]+=*)(?: .*)?")
# The name under which ssh looks for the host key, whatever the address and the port are.
ALIAS = "backups"
VANISHED = 24  # rsync's exit status when files were removed meanwhile; the sender checks what is still there
# rsync's exit status when a file could not be written. Its reason ("No space left on device") is lost now and then: the
# other side may end before its last words are through.
FILE_IO = 11
PARTIAL = ".partial"  # directory for what was not finished, from where the next run goes on

ENVIRONMENT = {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


class Target(NamedTuple):
    """Where backups go."""

    user: str
    host: str
    path: str

    @staticmethod
    def of(text: str) -> Target:
        """Return what ``user@host:/path`` means.

        :raises DeployError: it is written otherwise.
        """
        found = TARGET.fullmatch(text)
        if not found or found[2].startswith("-"):
            raise DeployError(
                f"push_to is {text!r}; write it as user@host:/directory, without blanks, for example "
                "backup@nas.example.com:/srv/backups/hub"
            )
        return Target(found[1], found[2], found[3].rstrip("/") or "/")

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.path}"


def known_host(host_key: str) -> str:
    """Return the line of a known_hosts file for a host's public key, which may come as such a line or alone.

    :raises DeployError: it is none.
    """
    found = HOST_KEY.fullmatch(host_key.strip())
    if not found:
        raise DeployError(
            f"push_host_key is {host_key!r}; give the other machine's public host key, as it stands there in "
            "/etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…"
        )
    return f"{ALIAS} {found[1]}\n"


def public_key(key_file: str, write: bool) -> str | None:
    """Return the public half of the key that this host shows to the other; the pair is made when it is not there.

    :param write: whether it may be made; otherwise ``None`` when there is none.
    :raises DeployError: it cannot be made or read.
    """
    try:
        if not os.path.exists(key_file):
            if not write:
                return None
            os.makedirs(os.path.dirname(key_file), mode=0o755, exist_ok=True)
            _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "jupyterhub-backup", "-f", key_file])
        return _run(["ssh-keygen", "-y", "-f", key_file]).strip()
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise DeployError(
            f"key {key_file} cannot be made or read: {said[0]}; remove it to have a new one made"
        ) from error


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError as error:
        raise DeployError(
            f"program {command[0]} is missing on this host; install the package openssh-client"
        ) from error


class Remote:
    """The other machine while it is used. Make one with :func:`reached`."""

    def __init__(self, directory: str, target: Target, shell: str, key_line: str) -> None:
        self.directory, self.target, self.shell, self.key_line = directory, target, shell, key_line

    def missing(self, names: list[str]) -> list[str]:
        """Return which of these files are not there."""
        return self._rsync(names, "--dry-run", "--ignore-existing")

    def send(self, names: list[str], compare: bool = False) -> list[str]:
        """Have these files there; return which were sent. What was interrupted goes on where it stopped.

        :param compare: read the files on both sides again, instead of believing size and time.
        """
        return self._rsync(names, f"--partial-dir={PARTIAL}", *(["--checksum"] if compare else []))

    def differing(self, names: list[str]) -> list[str]:
        """Return which files have another content there, after reading them on both sides."""
        return self._rsync(names, "--dry-run", "--checksum")

    def _rsync(self, names: list[str], *options: str) -> list[str]:
        """Run rsync over files; return those that it sent, or would send."""
        if not names:
            return []
        command = ["rsync", "--times", "--files-from=-", "--ignore-missing-args", "--out-format=%i %n", *options]
        # Modes are those of here, for the owner alone; owners are the other side's own.
        command += ["--chmod=D700,F600", f"--rsh={self.shell}", f"{self.directory}/", f"{self.target}/"]
        try:
            done = subprocess.run(
                command,
                env=ENVIRONMENT,
                input="".join(f"{name}\n" for name in names),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            raise DeployError("program rsync is missing on this host; install the package rsync") from error
        if done.returncode not in (0, VANISHED):
            raise DeployError(complaint(self.target, done.returncode, done.stderr, self.key_line))
        # `<f` and `>f` are files that go over; anything else is a time or a mode that is set.
        wanted = set(names)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        return [name for what, _, name in lines if what[:2] in ("<f", ">f") and name in wanted]


@contextlib.contextmanager
def reached(directory: str, target: Target, host_key: str, key_file: str, port: int, public: str) -> Iterator[Remote]:
    """Give the other machine, for as long as its host key is in a file.

    :param directory: of the backups on this host.
    :param public: the public half of the key, for the message when it is refused.
    :raises DeployError: the host key is none.
    """
    with tempfile.NamedTemporaryFile("w", prefix="known-hosts-") as file:
        file.write(known_host(host_key))
        file.flush()
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "30",
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": ALIAS,
            "IdentitiesOnly": "yes",
            "ServerAliveCountMax": "4",
            "ServerAliveInterval": "30",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": file.name,
        }
        given = "".join(f" -o {name}={value}" for name, value in options.items())
        # Not the operator's own settings or agent: what works once by hand has to work at night.
        yield Remote(directory, target, f"ssh -F /dev/null -a -x -i {shlex.quote(key_file)} -p {port}{given}", public)


def complaint(target: Target, code: int, errors: str, key_line: str) -> str:
    """Return what it means that rsync failed. Pure."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith(("rsync error:", "rsync: connection"))), "")
    said = last or (lines[-1] if lines else f"exit status {code}")
    if "Host key verification failed" in errors:
        return (
            f"{target.host} does not have the key that push_host_key says; either the setting is wrong or somebody "
            "stands between; compare it with /etc/ssh/ssh_host_ed25519_key.pub on that machine"
        )
    if re.search(r"Permission denied \([a-z]", errors):  # its means of authentication, not an error's number
        return (
            f"{target.host} refuses this host's key for user {target.user}; add this line to "
            f"~{target.user}/.ssh/authorized_keys there: {key_line}"
        )
    if "No space left on device" in errors:
        return f"the disk of {target.host} is full ({said}); make room in {target.path} there, then run it again"
    if code == FILE_IO and not last:
        return (
            f"the disk of {target.host} is full, or cannot be written ({said}; rsync gave no reason); look at "
            f"{target.path} there, then run it again"
        )
    if "rsync: command not found" in errors or "rsync: not found" in errors:
        return f"{target.host} has no rsync; install the package rsync there"
    if "ssh: " in errors or "Connection timed out" in errors or "kex_exchange_identification" in errors:
        reason = next((line for line in lines if "ssh: " in line or "Connection" in line or "kex_" in line), said)
        return f"{target.host} cannot be reached: {reason}"
    return f"backups cannot be sent to {target}: {said}; run it again, it goes on where it stopped"
