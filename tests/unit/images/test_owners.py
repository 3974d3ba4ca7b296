"""A notebook image whose user cannot write to the volumes that exist."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.images.owners import Home, problem

ALICE = Home("hub-user-alice", 1000, 100, 0o40755)
BOB = Home("hub-user-bob", 1000, 100, 0o40755)
CAROL = Home("hub-user-carol", 1001, 100, 0o40755)


@pytest.mark.parametrize(
    ("home", "uid", "gid", "writable"),
    [
        (ALICE, 1000, 100, True),
        (ALICE, 1001, 100, False),
        (ALICE, 0, 0, False),  # without capabilities
        (ALICE._replace(mode=0o40775), 1001, 100, True),
        (ALICE._replace(mode=0o40775), 1001, 101, False),
        (ALICE._replace(mode=0o40777), 1001, 101, True),
        (ALICE._replace(mode=0o40555), 1000, 100, False),
        (ALICE._replace(uid=0, gid=0), 1001, 100, True),  # the hub changes the owner
    ],
)
def test_who_can_write(home: Home, uid: int, gid: int, writable: bool) -> None:
    assert home.is_writable(uid, gid) == writable


def test_an_image_with_the_same_user() -> None:
    assert problem("n:1", 1000, 100, [ALICE, BOB]) == ("", False)
    assert problem("n:1", 1000, 100, []) == ("", False)


def test_an_image_with_another_user() -> None:
    text, most = problem("n:1", 1001, 100, [ALICE, BOB, CAROL])
    assert most
    assert text.startswith(
        "image n:1 runs servers as user 1001:100, but 2 of 3 users' volumes belong to user 1000, so their files would "
        "be read-only (hub-user-alice, hub-user-bob); use an image whose user has the id 1000, or"
    )


def test_a_single_volume_of_another_user() -> None:
    text, most = problem("n:1", 1000, 100, [ALICE, BOB, CAROL])
    assert not most
    assert "1 of 3 users' volumes belong to user 1001" in text


def test_many_names_are_shortened() -> None:
    text, _ = problem("n:1", 1001, 100, [ALICE._replace(volume=f"v{number}") for number in range(9)])
    assert "(v0, v1, v2, v3, v4, …)" in text
