"""The hardening of users' containers is applied to what Docker gets."""

from __future__ import annotations

import pytest

from jupyterhub_deploy_hub.hardening import hardened

HOME = "hub-user-alice:/home/jovyan/work:rw"
OWN = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "AutoRemove": False, "Binds": [HOME]}


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (None, OWN),
        ({"ShmSize": 1, "AutoRemove": True}, {**OWN, "ShmSize": 1}),
        ({"CapDrop": ["NET_RAW"], "CapAdd": ["CHOWN"]}, {**OWN, "CapAdd": ["CHOWN"]}),
        (
            {"SecurityOpt": ["seccomp=unconfined", "no-new-privileges:false"]},
            {**OWN, "SecurityOpt": ["seccomp=unconfined", "no-new-privileges"]},
        ),
        ({"Binds": ["/srv:/srv"]}, {**OWN, "Binds": [HOME, "/srv:/srv"]}),
        ({"Binds": ["/homes/alice:/home/jovyan/work"]}, {**OWN, "Binds": ["/homes/alice:/home/jovyan/work"]}),
        (
            {"Mounts": [{"Target": "/home/jovyan/work", "Type": "bind"}]},
            {**OWN, "Binds": None, "Mounts": [{"Target": "/home/jovyan/work", "Type": "bind"}]},
        ),
    ],
)  # fmt: skip
def test_own_options_are_added(given: dict[str, object] | None, result: dict[str, object]) -> None:
    found = hardened(given, [HOME])
    assert {"Binds": None, **found} == result


def test_named_settings_turn_it_off() -> None:
    found = hardened({}, [], drop_capabilities=False, no_new_privileges=False)
    assert found == {"AutoRemove": False}
