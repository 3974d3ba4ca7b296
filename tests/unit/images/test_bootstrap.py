"""Which of a host's apt sources a base image is made from."""

from __future__ import annotations

from ansible.module_utils.jupyterhub_deploy.images.bootstrap import archive_sources, command

DEBIAN = """\
# A comment

Types: deb deb-src
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://mirror.example.com/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://old.example.com/debian
Suites: bookworm
Components: main
"""

EMBEDDED = """\
Types: deb
URIs: http://mirror.example.com/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""

LINES = """\
# deb http://mirror.example.com/ubuntu noble main
deb http://mirror.example.com/ubuntu noble main universe # the archive
deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://mirror.example.com/ubuntu noble-security main
deb-src http://mirror.example.com/ubuntu noble main
deb [arch=amd64] https://third.example.com/docker noble stable
deb cdrom:[Ubuntu]/ noble main
"""


def test_deb822():
    assert archive_sources({"/etc/apt/sources.list.d/debian.sources": DEBIAN}, "bookworm") == [
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example.com/debian bookworm "
        "main non-free-firmware",
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example.com/debian "
        "bookworm-updates main non-free-firmware",
        "deb https://mirror.example.com/debian-security bookworm-security main",
    ]


def test_a_key_inside_the_file_is_left_to_apt():
    assert archive_sources({"a.sources": EMBEDDED}, "bookworm") == [
        "deb http://mirror.example.com/debian bookworm main"
    ]


def test_one_line_style():
    assert archive_sources({"/etc/apt/sources.list": LINES}, "noble") == [
        "deb http://mirror.example.com/ubuntu noble main universe",
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://mirror.example.com/ubuntu noble-security main",
    ]


def test_another_suite_gives_nothing():
    assert archive_sources({"a.list": LINES, "b.sources": DEBIAN}, "trixie") == []


def test_command_writes_a_tarball_to_standard_output():
    parts = command("bookworm", "python3,tini", "/var/tmp/s.list", ["--aptopt=x"])
    assert parts[0] == "mmdebstrap"
    assert parts[-3:] == ["bookworm", "-", "/var/tmp/s.list"]
    assert "--include=python3,tini" in parts
    assert "--aptopt=x" in parts
