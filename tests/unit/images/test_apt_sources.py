"""Which of a host's apt sources a base image is made from."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy import files
from ansible.module_utils.jupyterhub_deploy.images.apt_sources import archive_sources

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

CLOUD = f"""\
# A comment

Types: deb deb-src
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
# Signed-By: /etc/apt/keyrings/old.gpg
Signed-By: {KEYRING}
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
"""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of a host, by path."""
    contents = {
        "/etc/apt/sources.list": LINES,
        "/etc/apt/sources.list.d/debian.sources": CLOUD,
        "/etc/apt/sources.list.d/own.sources": EMBEDDED,
        "/etc/apt/mirrors/debian.list": "# nearest first\nhttps://deb.example.com/debian\thost\nhttp://b.example.com\n",
    }
    monkeypatch.setattr(files, "read_text", contents.get)
    return contents


@pytest.mark.usefixtures("host")
class TestSources:
    def test_a_list_of_mirrors_becomes_its_first_mirror(self) -> None:
        mirrors, file = "mirror+file:/etc/apt/mirrors", "/etc/apt/sources.list.d/debian.sources:1"
        targets = f"""\
{mirrors}/debian.list/ bookworm bookworm main {file} Debian
{mirrors}/debian.list/ bookworm bookworm non-free-firmware {file} Debian
{mirrors}/debian.list/ bookworm-updates bookworm-updates main {file} Debian
{mirrors}/debian.list/ bookworm-backports bookworm-backports main {file} Debian
{mirrors}/none.list/ bookworm-security bookworm-security main {file} Debian
"""
        assert archive_sources(targets, "bookworm") == [
            f"deb [signed-by={KEYRING}] https://deb.example.com/debian bookworm main non-free-firmware",
            f"deb [signed-by={KEYRING}] https://deb.example.com/debian bookworm-updates main",
        ]

    @pytest.mark.parametrize("name", ["oldstable", "stable", "bookworm"])
    def test_a_suite_with_another_name_is_written_with_its_code_name(self, name: str) -> None:
        targets = f"""\
http://mirror.example.com/debian/ {name} bookworm main /etc/apt/sources.list:2 Debian
http://mirror.example.com/debian/ {name}-updates bookworm-updates main /etc/apt/sources.list:2 Debian
http://mirror.example.com/debian/ {name}-security bookworm-security main /etc/apt/sources.list:2 Debian
http://mirror.example.com/debian/ {name}-backports bookworm-backports main /etc/apt/sources.list:2 Debian
https://third.example.com/tools/ stable bookworm main /etc/apt/sources.list:2 Tools
"""
        assert archive_sources(targets, "bookworm") == [
            "deb http://mirror.example.com/debian/ bookworm main",
            "deb http://mirror.example.com/debian/ bookworm-updates main",
            "deb http://mirror.example.com/debian/ bookworm-security main",
        ]

    def test_the_suite_of_another_release_is_not_taken(self) -> None:
        targets = "http://mirror.example.com/debian/ stable trixie main /etc/apt/sources.list:2 Debian\n"
        assert archive_sources(targets, "bookworm") == []

    def test_a_key_inside_the_file_is_left_to_apt(self) -> None:
        targets = (
            "http://mirror.example.com/debian/ bookworm bookworm main /etc/apt/sources.list.d/own.sources:1 Debian\n"
        )
        assert archive_sources(targets, "bookworm") == ["deb http://mirror.example.com/debian/ bookworm main"]

    def test_a_line_keeps_its_options(self) -> None:
        # One line for each architecture; sources of third parties, and media that only this host has, are left out.
        targets = """\
http://mirror.example.com/ubuntu/ noble noble main /etc/apt/sources.list:2 Ubuntu
http://mirror.example.com/ubuntu/ noble noble main /etc/apt/sources.list:2 Ubuntu
http://mirror.example.com/ubuntu/ noble noble universe /etc/apt/sources.list:2 Ubuntu
https://mirror.example.com/ubuntu/ noble-security noble main /etc/apt/sources.list:3 Ubuntu
https://third.example.com/docker/ noble bookworm stable /etc/apt/sources.list:3 Tools for everyone
https://third.example.com/tools/ stable bookworm main /etc/apt/sources.list:3 Tools for everyone
cdrom:[Ubuntu]/ noble noble main /etc/apt/sources.list:2 Ubuntu
"""
        assert archive_sources(targets, "noble") == [
            "deb http://mirror.example.com/ubuntu/ noble main universe",
            "deb [arch=amd64 signed-by=/etc/apt/keyrings/k.gpg] https://mirror.example.com/ubuntu/ noble-security main",
        ]
