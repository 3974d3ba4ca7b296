"""Send files to another machine with rsync over SSH, with a dedicated key and a given host key.

It also works where the other machine allows only rsync (``rrsync``). Errors of rsync and ssh become one message that
says what to do.
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

from ansible.module_utils.jupyterhub_deploy.backup.programs import ENVIRONMENT
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

# No spaces or quotes: older versions of rsync pass the path to a shell on the other machine.
TARGET = re.compile(r"([A-Za-z_][\w.-]*)@(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([\w./~+,=@-]+)")
HOST_KEY = re.compile(r"(?:\S+ )?((?:ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/]+=*)(?: .*)?")
# The name under which ssh searches for the host key, for any address and port.
ALIAS = "backups"
VANISHED = 24  # rsync's exit status when files were removed meanwhile; the caller checks which still exist
# rsync's exit status when a file could not be written. The reason ("No space left on device") is sometimes lost: the
# other side may end before its last message is sent.
FILE_IO = 11
PARTIAL = ".partial"  # directory for unfinished files, with which the next run continues


class Target(NamedTuple):
    """The machine and directory to which backups are sent."""

    user: str
    host: str
    path: str

    @staticmethod
    def of(text: str) -> Target:
        """Parse ``user@host:/path``.

        :raises DeployError: the text has another form.
        """
        found = TARGET.fullmatch(text)
        if not found or found[2].startswith("-"):
            raise DeployError(
                f"jupyterhub_backup_push_to is {text!r}; write it as user@host:/directory, without blanks, for example "
                "backup@nas.example.com:/srv/backups/hub"
            )
        return Target(found[1], found[2], found[3].rstrip("/") or "/")

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.path}"


def known_hosts_line(host_key: str) -> str:
    """Return a line for a known_hosts file.

    :param host_key: the host's public key, or a line of a known_hosts file.
    :raises DeployError: it is not a public key.
    """
    found = HOST_KEY.fullmatch(host_key.strip())
    if not found:
        raise DeployError(
            f"jupyterhub_backup_push_host_key is {host_key!r}; give the other machine's public host key, from its "
            "/etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…"
        )
    return f"{ALIAS} {found[1]}\n"


def public_key(key_file: str, write: bool) -> str | None:
    """Return the public key of this host's key pair; create the pair if it is missing.

    :param write: whether to create it; otherwise return ``None`` when it is missing.
    :raises DeployError: it cannot be created or read.
    """
    try:
        if not os.path.exists(key_file):
            if not write:
                return None
            os.makedirs(os.path.dirname(key_file), mode=0o755, exist_ok=True)
            _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "jupyterhub-backup", "-f", key_file])
        return _run(["ssh-keygen", "-y", "-f", key_file]).strip()
    except subprocess.CalledProcessError as error:
        last_line = error.stderr.strip().splitlines()[-1:] or ["no error message"]
        raise DeployError(
            f"key {key_file} cannot be created or read: {last_line[0]}; remove it, and the next run creates a new one"
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
    """The other machine. Create one with :func:`connect`."""

    def __init__(self, directory: str, target: Target, shell: str, key_line: str) -> None:
        self.directory, self.target, self.shell, self.key_line = directory, target, shell, key_line

    def missing(self, names: list[str]) -> list[str]:
        """Return which of these files are missing there, or have another size, as after a power cut."""
        return self._rsync(names, "--dry-run", "--size-only")

    def send(self, names: list[str], compare: bool = False) -> list[str]:
        """Send files that are missing or differ; return which were sent. Interrupted transfers are resumed.

        :param compare: compare checksums on both sides instead of sizes and times.
        """
        return self._rsync(names, f"--partial-dir={PARTIAL}", *(["--checksum"] if compare else []))

    def differing(self, names: list[str]) -> list[str]:
        """Return which files have other content there, comparing checksums on both sides."""
        return self._rsync(names, "--dry-run", "--checksum")

    def _rsync(self, names: list[str], *options: str) -> list[str]:
        """Run rsync for files; return those that it sent, or would send."""
        if not names:
            return []
        command = ["rsync", "--times", "--files-from=-", "--ignore-missing-args", "--out-format=%i %n", *options]
        # Files there belong to the user who logs in, and only that user can read them.
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
            raise DeployError(explain_failure(self.target, done.returncode, done.stderr, self.key_line))
        # `<f` and `>f` are files that are sent; other lines are changed times or modes.
        wanted = set(names)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        return [name for what, _, name in lines if what[:2] in ("<f", ">f") and name in wanted]


@contextlib.contextmanager
def connect(directory: str, target: Target, host_key: str, key_file: str, port: int, public: str) -> Iterator[Remote]:
    """Yield the other machine; its host key is in a temporary file meanwhile.

    :param directory: of the backups on this host.
    :param public: the public key, for the message when the other machine refuses it.
    :raises DeployError: the host key is not valid.
    """
    with tempfile.NamedTemporaryFile("w", prefix="known-hosts-") as file:
        file.write(known_hosts_line(host_key))
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
        # Without the user's SSH settings and agent: a push that works interactively must also work when scheduled.
        yield Remote(directory, target, f"ssh -F /dev/null -a -x -i {shlex.quote(key_file)} -p {port}{given}", public)


def explain_failure(target: Target, code: int, errors: str, key_line: str) -> str:
    """Return a message that says why rsync failed and what to do."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith(("rsync error:", "rsync: connection"))), "")
    detail = last or (lines[-1] if lines else f"exit status {code}")
    if "Host key verification failed" in errors:
        return (
            f"{target.host} does not have the key that push_host_key says; either the setting is wrong or another "
            "machine answers instead; compare it with /etc/ssh/ssh_host_ed25519_key.pub on that machine"
        )
    if re.search(r"Permission denied \([a-z]", errors):  # followed by authentication methods, not by an error number
        return (
            f"{target.host} refuses this host's key for user {target.user}; add this line to "
            f"~{target.user}/.ssh/authorized_keys there: {key_line}"
        )
    if "No space left on device" in errors:
        return f"the disk of {target.host} is full ({detail}); make room in {target.path} there, then run it again"
    if code == FILE_IO and not last:
        return (
            f"the disk of {target.host} is full, or cannot be written ({detail}; rsync gave no reason); check "
            f"{target.path} there, then run it again"
        )
    if "rsync: command not found" in errors or "rsync: not found" in errors:
        return f"{target.host} has no rsync; install the package rsync there"
    if "ssh: " in errors or "Connection timed out" in errors or "kex_exchange_identification" in errors:
        reason = next((line for line in lines if "ssh: " in line or "Connection" in line or "kex_" in line), detail)
        return f"{target.host} cannot be reached: {reason}"
    return f"backups cannot be sent to {target}: {detail}; run it again, it continues where it stopped"
