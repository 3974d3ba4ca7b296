"""Test hosts: Debian machines as containers, in which their own Docker runs the hub's containers.

From Python: ``host = Host.create("debian12")`` … ``host.destroy()``. From a shell or a playbook::

    python -m hosts.hosts create debian12 --name web     # prints the inventory variables of the host as JSON
    python -m hosts.hosts destroy web
    python -m hosts.hosts clean                          # all hosts and images, except those of running tests

In a test run, the name of a host's container contains the run; elsewhere, a label can name the process that wants the
host. When the process is gone, the next run removes the host.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import run
from .images import KINDS, REPOSITORY, DockerError, docker, ensure_image

ROOT = Path(__file__).resolve().parent.parent.parent
#: Keys and known_hosts files of living hosts, one directory each.
STATE = ROOT / ".cache" / "hosts"
LABEL = "org.jupyterhub.deploy.test"
#: Boot takes 2–4 s; a loaded machine takes longer.
BOOT_SECONDS = 120


class Host:
    """A test host that exists. Make one with :meth:`create`, find one again with :meth:`find`."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.container = run.name(name)
        self.volume = f"{self.container}-docker"
        self.state = STATE / self.container

    @classmethod
    def of_container(cls, container: str) -> Host:
        """Return the host of a container, also of another run's."""
        host = cls("", "")
        host.container, host.volume, host.state = container, f"{container}-docker", STATE / container
        return host

    @classmethod
    def create(cls, kind: str, name: str | None = None, owner: int | None = None) -> Host:
        """Make a fresh host and wait until it has booted.

        Args:
            kind: a key of ``images.KINDS``.
            name: unique on this machine, made up when not given; a host that has it already is replaced.
            owner: process that wants the host. When it is gone, :func:`remove_stale` removes the host.
        """
        host = cls(name or f"{kind}-{secrets.token_hex(3)}", kind)
        image = ensure_image(kind)
        host.destroy()
        host._make_key()
        docker(
            "run", "--detach", "--name", host.container, "--hostname", host.name,
            "--label", f"{LABEL}=host", "--label", f"{LABEL}.kind={kind}",
            "--label", f"{LABEL}.owner={run.identity(owner) if owner else ''}",
            # What Docker inside needs; see host-init for the rest. Never --privileged: not every machine may.
            # SYS_PTRACE: `docker exec` into a container whose processes are not root's.
            "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE",
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns", "private",
            "--tmpfs", "/run:exec,mode=755", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777",
            "--volume", f"{host.volume}:/var/lib/docker",
            "--volume", "/etc/resolv.conf:/etc/resolv.conf:ro",
            *(["--init"] if KINDS[kind].init == "bare" else []),
            image,
        )  # fmt: skip
        try:
            host.wait_ready()
            if KINDS[kind].init == "systemd":
                host._let_ops_in()
        except BaseException:
            host.destroy()
            raise
        return host

    @classmethod
    def find(cls, name: str) -> Host:
        """Return the existing host of that name; ``DockerError`` when there is none."""
        kind = docker("inspect", "--format", f'{{{{index .Config.Labels "{LABEL}.kind"}}}}', run.name(name))
        return cls(name, kind)

    @property
    def address(self) -> str:
        """IPv4 address of the host, reachable from this machine and from other test hosts."""
        return docker("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", self.container)

    @property
    def key_file(self) -> Path:
        """Private key of ``ops``, the person who administers the host over SSH."""
        return self.state / "id_ed25519"

    def inventory(self) -> dict[str, Any]:
        """Return the Ansible variables of a connection to this host: over SSH, or by Docker to a bare one."""
        if KINDS[self.kind].init == "bare":
            return {"ansible_connection": "community.docker.docker", "ansible_host": self.container}
        known_hosts = self.state / "known_hosts"
        return {
            "ansible_connection": "ssh",
            "ansible_host": self.address,
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(self.key_file),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o IdentitiesOnly=yes",
        }

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 600,
        user: str = "root",
        stdin: str | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, a text by the shell; stdout and stderr come back together in ``stdout``.

        Raises:
            AssertionError: it ended with another code than 0 and ``check`` is set; says what it printed.
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        settings = [part for key, value in (env or {}).items() for part in ("--env", f"{key}={value}")]
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--user", user, *settings, self.container, *argv],
            input=stdin if stdin is not None else "", text=True, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{self.name}: {command!r} ended with {done.returncode}:\n{done.stdout}")
        return done

    def run_logged(
        self, command: str, log: Path, *, check: bool = True, timeout: float = 1800, env: dict[str, str] | None = None
    ) -> str:
        """Run a shell command that takes long, its output going to a file as it comes, and return that output."""
        settings = [part for key, value in (env or {}).items() for part in ("--env", f"{key}={value}")]
        with log.open("w", encoding="utf-8") as stream:
            code = subprocess.run(
                ["docker", "exec", *settings, self.container, "sh", "-c", command],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, timeout=timeout,
            ).returncode  # fmt: skip
        text = log.read_text(encoding="utf-8", errors="replace")
        if check and code:
            raise AssertionError(f"{self.name}: {command!r} ended with {code}; the end of {log}:\n{text[-6000:]}")
        return text

    def read(self, path: str) -> str:
        """Return the text of a file on the host."""
        return self.run(["cat", path]).stdout

    def write(self, path: str, text: str) -> None:
        """Write a file on the host; its directory is made when missing."""
        self.run(f'mkdir -p "$(dirname {path})" && cat > {path}', stdin=text)

    def copy_project(self, target: str = "/root/jupyterhub-deploy-ansible") -> str:
        """Put this project on the host as a fresh clone would be: the work tree's files, without what git ignores."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE,
        ).stdout  # fmt: skip
        files = [name for name in listed.split(b"\0") if name and os.path.lexists(ROOT / os.fsdecode(name))]
        self.run(["mkdir", "-p", target])
        with subprocess.Popen(
            ["tar", "--create", "--null", "--files-from=-", "--owner=0", "--group=0"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as pack:  # fmt: skip
            assert pack.stdin is not None
            unpack = subprocess.Popen(
                ["docker", "exec", "-i", self.container, "tar", "-x", "-C", target], stdin=pack.stdout
            )
            pack.stdin.write(b"\0".join(files))
            pack.stdin.close()
            assert unpack.wait() == 0
        return target

    def wait_ready(self) -> None:
        """Wait until the host has booted.

        Raises:
            TimeoutError: it has not after :data:`BOOT_SECONDS`; has its state and log.
        """
        probe = "mountpoint -q /proc/sys || true" if KINDS[self.kind].init == "bare" else "systemctl is-system-running"
        deadline = time.monotonic() + BOOT_SECONDS
        state = ""
        while time.monotonic() < deadline:
            done = self.run(probe, check=False)
            state = done.stdout.strip()
            # "degraded": some unit that a container cannot have failed; the units that we need are checked by use.
            if done.returncode == 0 or state == "degraded":
                return
            time.sleep(0.5)
        log = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False)
        raise TimeoutError(f"{self.name} did not boot in {BOOT_SECONDS} s, it is {state!r}; {log.stdout}{log.stderr}")

    def reboot(self, *, power_cut: bool = False) -> None:
        """Shut the host down and boot it again, or cut its power and give it back; wait until it has booted.

        As with DHCP, its address may be another one afterwards.
        """
        if power_cut:
            docker("kill", self.container)
            docker("start", self.container)
        else:
            docker("restart", "--time", "90", self.container)
        self.wait_ready()
        if KINDS[self.kind].init == "systemd":
            self._note_server_key()

    def destroy(self) -> None:
        """Remove the host with everything on it; fine when there is none."""
        subprocess.run(["docker", "rm", "--force", "--volumes", self.container], check=False, capture_output=True)
        subprocess.run(["docker", "volume", "rm", "--force", self.volume], check=False, capture_output=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def _make_key(self) -> None:
        self.state.mkdir(parents=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ops@test", "-f", str(self.key_file)], check=True
        )

    def _let_ops_in(self) -> None:
        public = self.key_file.with_suffix(".pub").read_text(encoding="utf-8")
        self.run("umask 077 && cat > /home/ops/.ssh/authorized_keys", user="ops", stdin=public)
        self._note_server_key()

    def _note_server_key(self) -> None:
        server_key = " ".join(self.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        (self.state / "known_hosts").write_text(f"{self.address} {server_key}\n", encoding="utf-8")


def remove(stale: Callable[[str, str], bool]) -> None:
    """Remove the hosts of which a function of their container's name and their owner returns true."""
    listing = docker("ps", "--all", "--filter", f"label={LABEL}",
                     "--format", f'{{{{.Names}}}} {{{{.Label "{LABEL}.owner"}}}}')  # fmt: skip
    for line in listing.splitlines():
        container, _, owner = line.partition(" ")
        if stale(container, owner):
            Host.of_container(container).destroy()


def remove_stale() -> None:
    """Remove what killed runs have left."""
    remove(lambda container, owner: run.is_stale(container) or bool(owner and not run.is_alive(owner)))
    run.remove_stale()


def clean() -> None:
    """Remove all test hosts, the images that they are made of, and what killed runs have left; spare running tests."""
    remove(lambda container, owner: not (run.is_running(container) or run.is_alive(owner)))
    run.remove_stale()
    for image in docker("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split():
        with contextlib.suppress(DockerError):  # in use
            docker("rmi", image)


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line asks for; see the text at the top."""
    parser = argparse.ArgumentParser(prog="hosts", description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    create = verbs.add_parser("create")
    create.add_argument("kind", choices=sorted(KINDS))
    create.add_argument("--name", required=True)
    verbs.add_parser("destroy").add_argument("name")
    verbs.add_parser("clean")
    args = parser.parse_args(argv)
    if args.verb == "create":
        json.dump(Host.create(args.kind, args.name).inventory(), sys.stdout)
    elif args.verb == "destroy":
        Host(args.name, "").destroy()
    elif shutil.which("docker"):
        with contextlib.suppress(DockerError):  # without Docker, there are no hosts
            clean()


if __name__ == "__main__":
    main()
