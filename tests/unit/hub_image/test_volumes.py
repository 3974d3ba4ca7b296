"""The owner of a new volume."""

from __future__ import annotations

import io
import tarfile
from datetime import datetime

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_USER_SINCE

from jupyterhub_deploy_hub.volumes import (
    SINCE_LABEL,
    Owner,
    container_problem,
    forgotten_time,
    is_writable,
    label_problem,
    needs_owner,
    owner_archive,
    owner_of_process,
)

PASSWD = "root:x:0:0::/root:/bin/sh\nbroken line\njovyan:x:1000:100::/home/jovyan:/bin/bash\n"
SINCE = "2026-01-01T00:00:00"  # when the user was added to the hub
GROUP = "root:x:0:\nusers:x:100:\nteachers:x:4000:jovyan\n"


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("", Owner(0, 0)),
        ("root", Owner(0, 0)),
        ("jovyan", Owner(1000, 100)),
        ("1000", Owner(1000, 100)),
        ("4321", Owner(4321, 0)),
        ("1000:0", Owner(1000, 0)),
        ("jovyan:teachers", Owner(1000, 4000)),
        ("4321:4000", Owner(4321, 4000)),
        ("nobody-here", None),
        ("jovyan:no-such-group", None),
    ],
)
def test_owner_of_process(user: str, owner: Owner | None) -> None:
    assert owner_of_process(user, PASSWD, GROUP) == owner


def test_without_passwd_and_group_only_numbers_are_known() -> None:
    assert owner_of_process("1000:100", "", "") == Owner(1000, 100)
    assert owner_of_process("jovyan", "", "") is None


def test_only_a_mount_point_of_root_changes_its_owner() -> None:
    assert needs_owner(Owner(0, 0), Owner(1000, 100))
    assert not needs_owner(Owner(1001, 0), Owner(1000, 100))
    assert not needs_owner(Owner(0, 0), Owner(0, 0))
    assert not needs_owner(Owner(0, 0), None)


def test_who_can_write_to_a_directory() -> None:
    process = Owner(1001, 100)
    assert is_writable(Owner(1001, 0), 0o755, process)
    assert is_writable(Owner(1000, 100), 0o775, process)
    assert is_writable(Owner(1000, 0), 0o777, process)
    assert not is_writable(Owner(1000, 100), 0o755, process)
    assert not is_writable(Owner(1000, 0), 0o775, process)
    assert not is_writable(Owner(1001, 100), 0o555, process)


def test_the_archive_contains_only_the_directory() -> None:
    parent, archive = owner_archive("/home/jovyan/work/", Owner(1000, 100), 0o2055)
    assert parent == "/home/jovyan"
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        (entry,) = opened.getmembers()
    assert (entry.name, entry.isdir(), entry.uid, entry.gid) == ("work", True, 1000, 100)
    assert entry.mode == 0o2755


def test_labels_of_another_user_are_a_problem() -> None:
    wanted = {"user": "alice"}
    assert label_problem({"user": "alice", "other": "x"}, wanted, "v", SINCE) is None
    assert "belongs to 'bob'" in (label_problem({"user": "bob"}, wanted, "v", SINCE) or "")


@pytest.mark.parametrize("labels", [None, {}, {"other": "x"}, {"hub": "lab"}, {"user": "alice"}])
def test_a_volume_without_the_labels_belongs_to_nobody(labels: dict[str, str] | None) -> None:
    problem = label_problem(labels, {"hub": "lab", "user": "alice"}, "lab-user-alice", SINCE) or ""
    assert "lab-user-alice exists already, and has no label that says whose it is" in problem


def test_the_volume_of_a_deleted_user_is_not_given_to_the_next_one_of_that_name() -> None:
    assert SINCE_LABEL == LABEL_USER_SINCE, "restores compare it"
    wanted = {"user": "alice"}
    assert label_problem({**wanted, SINCE_LABEL: SINCE}, wanted, "v", SINCE) is None
    problem = label_problem({**wanted, SINCE_LABEL: "2025-01-01T00:00:00"}, wanted, "v", SINCE)
    assert problem == "The volume v belongs to an earlier user of this name, who was deleted."


RESTORED = '{"backup": "2025-12-01T00:00:00", "restored": "2025-12-02T00:00:00"}'


def test_a_user_added_after_the_restored_backup_gets_the_volume_again() -> None:
    wanted = {"user": "alice"}
    moments = RESTORED
    for labeled, is_given in (("2025-11-30T23:59:59", False), ("2025-12-01T00:00:00", True), (SINCE, True)):
        problem = label_problem({**wanted, SINCE_LABEL: labeled}, wanted, "v", SINCE, forgotten_time(moments))
        assert (problem is None) == is_given, labeled
    late = label_problem({**wanted, SINCE_LABEL: "2025-12-03T00:00:00"}, wanted, "v", SINCE, forgotten_time(moments))
    assert late, "added, and deleted, after the restore"


@pytest.mark.parametrize(
    ("since", "signed_up", "is_given"),
    [
        (SINCE, None, True),  # a user of a provider, or with an account of the operator's
        (SINCE, "2025-11-30T12:00:00", True),  # the account is in the backup, the user had not signed in before it
        (SINCE, "2025-12-02T00:00:00", False),
        (SINCE, "2026-01-01T00:00:00", False),
        ("2025-11-01T00:00:00", None, False),  # the restored hub knows the user before the one who was added then
    ],
)
def test_a_forgotten_users_volume_is_not_given_to_who_signs_up_under_the_name(
    since: str, signed_up: str | None, is_given: bool
) -> None:
    wanted, labeled = {"user": "alice"}, "2025-12-01T12:00:00"
    at = datetime.fromisoformat(f"{signed_up}+00:00").timestamp() if signed_up else None
    problem = label_problem({**wanted, SINCE_LABEL: labeled}, wanted, "v", since, forgotten_time(RESTORED), at)
    refusal = "The volume v belongs to an earlier user of this name, who was added after the restored backup."
    assert problem == (None if is_given else refusal)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"backup": "2025-12-01T00:00:00"}'])
def test_without_a_record_of_a_restore_nobody_is_forgotten(text: str) -> None:
    assert forgotten_time(text) == ("", "")


def test_only_a_container_with_the_users_labels_is_the_users() -> None:
    wanted = {"hub": "lab", "user": "alice"}
    assert container_problem({**wanted, "other": "x"}, wanted, "c") is None
    for labels in (None, {}, {"hub": "lab"}, {"hub": "lab", "user": "bob"}, {"hub": "b", "user": "alice"}):
        assert container_problem(labels, wanted, "c") == (
            "The container c exists already, and does not belong to this user of this hub."
        )
