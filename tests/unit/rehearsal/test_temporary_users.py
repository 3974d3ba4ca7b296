"""Temporary users and what is left of them (tests/integration/servers/test_rehearsal.py has a real hub)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_HUB, LABEL_REHEARSAL, LABEL_USER
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.hub.storage import Storage
from ansible.module_utils.jupyterhub_deploy.rehearsal import temporary_users as temporary
from ansible.module_utils.jupyterhub_deploy.rehearsal.temporary_users import TemporaryUsers


class Docker:
    """As much of Docker as temporary users need."""

    def __init__(self) -> None:
        self.volumes_by_name: dict[str, dict[str, str]] = {}
        self.listed: list[dict[str, Any]] = []
        self.removed: list[str] = []

    def create_volume(self, name: str, labels: dict[str, str]) -> None:
        self.volumes_by_name[name] = labels

    def volumes(self, filters: dict[str, list[str]] | None = None) -> dict[str, Any]:
        wanted = (filters or {"label": []})["label"]

        def fits(labels: dict[str, str]) -> bool:
            return all(one in labels or one in {f"{key}={value}" for key, value in labels.items()} for one in wanted)

        found = [(name, labels) for name, labels in self.volumes_by_name.items() if fits(labels)]
        return {"Volumes": [{"Name": name, "Driver": "local", "Labels": labels} for name, labels in found]}

    def remove_volume(self, name: str) -> None:
        del self.volumes_by_name[name]

    def containers(self, **_: Any) -> list[dict[str, Any]]:
        return list(self.listed)

    def remove_container(self, identity: str, **_: Any) -> None:
        self.removed.append(identity)
        self.listed = [one for one in self.listed if one["Id"] != identity]


class Hub:
    """The API of a hub; ``stubborn`` users refuse to be deleted."""

    def __init__(self, *names: str, stubborn: str = "") -> None:
        self.names, self.stubborn, self.created = list(names), stubborn, list[Any]()

    def users(self, state: str) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.names]

    def user(self, name: str) -> dict[str, Any] | None:
        return {"name": name, "servers": {}} if name in self.names else None

    def request(self, method: str, path: str, body: Any = None, expected: tuple[int, ...] = ()) -> tuple[int, Any]:
        name = path.split("/")[-1]
        if method == "POST":
            self.created.append(body)
            self.names += body["usernames"]
        elif name in self.names:
            if name == self.stubborn:
                raise DeployError("it is still stopping")
            self.names.remove(name)
        return expected[0] if expected else 204, None


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "PAUSE", 0.0)


def container(user: str, identity: str, state: str = "running") -> dict[str, Any]:
    labels = {LABEL_HUB: "lab", LABEL_USER: user}
    return {"Id": identity, "Names": [f"/lab-jupyter-{identity}"], "State": state, "Labels": labels}


def test_users_are_created_and_removed() -> None:
    docker, hub = Docker(), Hub("alice")
    docker.create_volume("lab-user-alice", {LABEL_HUB: "lab", LABEL_USER: "alice"})
    users = TemporaryUsers(docker, "lab", hub)  # type: ignore[arg-type]
    names = ["rehearsal-1", "rehearsal-2"]
    assert users.taken(names, []) == []
    users.create(names, hub)  # type: ignore[arg-type]
    assert hub.created == [{"usernames": names, "admin": False}]
    assert docker.volumes_by_name["lab-user-rehearsal-2d1"][LABEL_REHEARSAL] == ""
    assert users.existing() == names

    docker.listed = [container("rehearsal-1", "1"), container("alice", "2"), container("rehearsal-2", "3", "exited")]
    assert users.containers(names) == ["1"]
    lines: list[str] = []
    users.remove(names, lines.append)
    assert lines == ["1 of 2 temporary users are removed", "2 of 2 temporary users are removed"]
    assert (hub.names, sorted(docker.removed), list(docker.volumes_by_name)) == (
        ["alice"],
        ["1", "3"],
        ["lab-user-alice"],
    )
    assert users.existing() == []


def test_one_who_cannot_be_removed_is_found_again() -> None:
    docker, hub = Docker(), Hub(stubborn="rehearsal-1")
    users = TemporaryUsers(docker, "lab", hub)  # type: ignore[arg-type]
    users.create(["rehearsal-1", "rehearsal-2"], hub)  # type: ignore[arg-type]
    with pytest.raises(
        DeployError,
        match=r"^1 temporary user could not be removed \(rehearsal-1: it is still stopping\); fix that, then run "
        r"`ansible-playbook playbooks/rehearse.yml -e users=0`",
    ):
        users.remove(["rehearsal-1", "rehearsal-2"], lambda _: None)
    assert (hub.names, users.existing()) == (["rehearsal-1"], ["rehearsal-1"])


def test_names_that_something_has_are_found() -> None:
    docker, hub = Docker(), Hub("rehearsal-1", "rehearsal-9")
    docker.create_volume("lab-user-rehearsal-2d2", {})
    docker.create_volume("other", {LABEL_HUB: "lab", LABEL_USER: "rehearsal-1"})
    docker.create_volume("lab2", {LABEL_HUB: "lab2", LABEL_USER: "rehearsal-1"})
    docker.listed = [container("rehearsal-3", "3", "exited")]
    users = TemporaryUsers(docker, "lab", hub)  # type: ignore[arg-type]
    taken = users.taken(["rehearsal-1", "rehearsal-2", "rehearsal-3"], ["rehearsal-3"])
    assert taken == [
        "user rehearsal-1", "account rehearsal-3", "volume lab-user-rehearsal-2d2", "volume other",
        "container lab-jupyter-3",
    ]  # fmt: skip
    with pytest.raises(
        DeployError, match=r"^hub lab already has user rehearsal-1, account .*nothing was changed; delete"
    ):
        temporary.check_names(taken, "lab")
    temporary.check_names([], "lab")


def test_directories_of_the_host_would_remain() -> None:
    temporary.check_directories(Storage("", ["lab-user-{username}", "/srv/shared"]))
    with pytest.raises(
        DeployError, match=r"^servers of this hub use /srv/\{username\} on the host, .* nothing was changed"
    ):
        temporary.check_directories(Storage("", ["/srv/{username}"]))
