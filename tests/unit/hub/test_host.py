"""The distribution of a host, and what holds a port: from the kernel's tables and from Docker's list."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.jupyterhub_deploy.hub import host

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F40 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
"""


def test_only_listening_sockets_of_the_port_count():
    assert host.listening_inodes(TABLE, 8000) == {"111"}
    assert host.listening_inodes(TABLE, 22) == {"333"}
    assert host.listening_inodes(TABLE, 80) == set()


def test_a_real_listener_is_named_and_a_closed_port_is_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        own = Path("/proc/self/comm").read_text().strip()
        assert host.listener(port) == (own, os.getpid())
        assert host.listener(port, besides=[own]) is None
    # A child process that another test is just starting has a copy of the socket until it executes its program.
    deadline = time.monotonic() + 30
    while host.listener(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert host.listener(port) is None


def test_the_container_that_publishes_a_port_is_named():
    containers = [
        {"Names": ["/web"], "Ports": [{"PublicPort": 80, "PrivatePort": 80, "Type": "tcp"}]},
        {"Names": ["/dns"], "Ports": [{"PublicPort": 8000, "PrivatePort": 53, "Type": "udp"}]},
        {"Names": ["/jupyterhub-proxy"], "Ports": [{"PrivatePort": 8000, "Type": "tcp"}]},
    ]
    assert host.publisher(containers, 80) == "web"
    assert host.publisher(containers, 8000) is None


def test_a_path_that_does_not_exist_counts_as_its_nearest_parent(tmp_path):
    assert host.nearest_existing(str(tmp_path / "a" / "b")) == str(tmp_path)
    assert host.free_bytes(str(tmp_path)) > 0


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
            "VERSION_CODENAME=bookworm\nID=debian\n",
            ("Debian", "12", "12", "bookworm"),
        ),
        (
            '# a comment\n\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n',
            ("Ubuntu", "24.04", "24", "noble"),
        ),
        ('NAME="Debian GNU/Linux"\nVERSION_CODENAME=forky\nID=debian\n', ("Debian", "", "", "forky")),
        ("NAME='Rocky Linux'\nVERSION_ID=\"9.4\"\nID=rocky\n", ("Rocky Linux", "9.4", "9", "")),
        (None, ("", "", "", "")),
    ],
    ids=["debian", "ubuntu", "testing", "other", "no file"],
)
def test_the_distribution_has_the_names_of_ansibles_facts(tmp_path, text, facts):
    path = tmp_path / "os-release"
    if text:
        path.write_text(text)
    assert tuple(host.distribution(str(path)).values()) == facts
    assert list(host.distribution(str(path))) == [
        f"ansible_distribution{part}" for part in ("", "_version", "_major_version", "_release")
    ]


def resolver(monkeypatch, error=None):
    """Replace the resolver; return the names that it is asked for."""
    asked = []

    def resolve(name, _):
        asked.append(name)
        if error:
            raise socket.gaierror(*error)

    monkeypatch.setattr(host.socket, "getaddrinfo", resolve)
    return asked


def test_names_below_the_hubs_have_to_resolve(monkeypatch):
    asked = resolver(monkeypatch)
    assert host.wildcard_problems("", hub_exists=True) == ([], [])
    assert asked == []
    assert host.wildcard_problems("https://hub.example.com:8443/", hub_exists=False) == ([], [])
    # With the dot, no search domain of the host is appended, whose wildcard name may exist.
    assert asked[0].endswith(".hub.example.com.")


@pytest.mark.parametrize("hub_exists", [False, True])
@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
def test_a_name_that_does_not_exist_is_a_fault(monkeypatch, code, hub_exists):
    asked = resolver(monkeypatch, (code, "Name or service not known"))
    assert host.wildcard_problems("https://hub.example.org/", hub_exists) == (
        [
            f"jupyterhub_subdomains needs a DNS record for *.hub.example.org, and {asked[0][:-1]} does not resolve on "
            "this host (Name or service not known); add the record with the address of hub.example.org, or set "
            "jupyterhub_check_subdomains: false if browsers use another DNS server that has it"
        ],
        [],
    )


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
def test_a_resolver_that_does_not_answer_does_not_stop_the_runs_of_a_hub(monkeypatch, code):
    resolver(monkeypatch, (code, "Temporary failure in name resolution"))
    faults, (warning,) = host.wildcard_problems("https://hub.example.org/", hub_exists=True)
    assert faults == []
    what = "whether the names below hub.example.org resolve is unknown, because the resolver of this host does not "
    assert warning == f"{what}answer (Temporary failure in name resolution)"
    (fault,), warnings = host.wildcard_problems("https://hub.example.org/", hub_exists=False)
    assert warnings == []
    assert fault == (
        f"{warning}; correct /etc/resolv.conf or the DNS server in it, or set jupyterhub_check_subdomains: false"
    )


def test_a_disk_to_which_nothing_can_be_written_is_named(monkeypatch, tmp_path):
    free = {"f_flag": 0, "f_bfree": 256, "f_frsize": 4096, "f_files": 100, "f_ffree": 1}

    def problem(**changes):
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**{**free, **changes}))
        return host.data_problem("lab", str(tmp_path))

    assert problem() is None
    assert problem(f_files=0, f_ffree=0) is None
    assert host.data_problem("lab", "/no/such/path") is None
    assert problem(f_bfree=255) == (
        f"the disk of {tmp_path}, which has the database of hub lab, is full, so that the hub can record nothing and "
        f"refuses sign-ups and tokens; free space on it (see `df {tmp_path}` and `df -i {tmp_path}`), then run "
        "the same again"
    )
    assert "lab, has no free inode, so" in problem(f_ffree=0)
    assert "lab, is mounted read-only, so" in problem(f_flag=os.ST_RDONLY)
