"""Values of the wrong type: each message names the setting and how to write it, and none shows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import jupyterhub_types

ROOT = Path(__file__).resolve().parents[3]
SPECS_BY_ROLE: dict[str, Any] = {}
for role in ("docker", "jupyterhub", "jupyterhub_images", "jupyterhub_backup"):
    text = (ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    SPECS_BY_ROLE[role] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
SPECS = {name: spec for specs in SPECS_BY_ROLE.values() for name, spec in specs.items()}


def typed(source: str) -> dict[str, Any]:
    """Return what the filter returns for settings in YAML."""
    settings = yaml.safe_load(source)
    return jupyterhub_types.typed_settings(list(settings.values()), settings, SPECS)


NUMBER = " (without quotes, YAML reads 22:30 as 1350 and 0012 as 10)"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "jupyterhub_admin_password: 12345678",
            'jupyterhub_admin_password is a number; put it in quotes: jupyterhub_admin_password: "…"',
        ),
        (
            "jupyterhub_admin_password: no",
            'jupyterhub_admin_password is a boolean; put it in quotes: jupyterhub_admin_password: "…"',
        ),
        (
            "jupyterhub_backup_schedule: 22:30",
            'jupyterhub_backup_schedule is the number 1350; put it in quotes: jupyterhub_backup_schedule: "…"' + NUMBER,
        ),
        (
            "jupyterhub_name: 2026-11-27",
            'jupyterhub_name is the date 2026-11-27; put it in quotes: jupyterhub_name: "…"',
        ),
        (
            "docker_minimum_version: 20.10",
            'docker_minimum_version is the number 20.1; put it in quotes: docker_minimum_version: "…"',
        ),
        ("jupyterhub_extra_config:", 'jupyterhub_extra_config has no value; set it to "" or remove the line'),
        ("jupyterhub_users:", "jupyterhub_users has no value; set it to [] or remove the line"),
        ("docker_daemon_options:", "docker_daemon_options has no value; set it to {} or remove the line"),
        ("jupyterhub_port:", "jupyterhub_port has no value; write one or remove the line"),
        ("jupyterhub_port: http", "jupyterhub_port is 'http'; use a whole number"),
        ("jupyterhub_port: true", "jupyterhub_port is true; use a whole number"),
        ("jupyterhub_health_timeout: 1.5", "jupyterhub_health_timeout is the number 1.5; use a whole number"),
        ("jupyterhub_minimum_free_gib: nan", "jupyterhub_minimum_free_gib is 'nan'; use a number"),
        ("jupyterhub_auth_state: maybe", "jupyterhub_auth_state is 'maybe'; use true or false"),
        ("jupyterhub_auth_state: 2", "jupyterhub_auth_state is the number 2; use true or false"),
        ("jupyterhub_public_url: [x]", "jupyterhub_public_url is a list; use a string"),
        ("jupyterhub_authenticators: native", "jupyterhub_authenticators is 'native'; use a list such as [native]"),
        (
            "jupyterhub_github_allowed_users: alice",
            "jupyterhub_github_allowed_users is 'alice'; use a list such as [alice]",
        ),
        ("jupyterhub_github_users: [alice]", "jupyterhub_github_users is a list; use a dictionary such as {key: …}"),
        ("jupyterhub_notebook_images: {a: b}", "jupyterhub_notebook_images is a dictionary; use a list such as […]"),
        (
            "jupyterhub_notebook_images: [a, 5]",
            'jupyterhub_notebook_images: entry 2 is the number 5; put it in quotes: - "…"' + NUMBER,
        ),
        (
            "jupyterhub_gitlab_allowed_projects: [lab/tool]",
            "jupyterhub_gitlab_allowed_projects: entry 1 is 'lab/tool'; use a whole number",
        ),
        ("jupyterhub_image_source: docker", "jupyterhub_image_source is 'docker'; use one of auto, pull, build"),
        ("jupyterhub_native_signup: yes", "jupyterhub_native_signup is true; use one of open, approval, closed"),
        (
            "jupyterhub_users: [{name: 0012345}]",
            'jupyterhub_users: name of entry 1 is the number 5349; put it in quotes: name: "…"' + NUMBER,
        ),
        (
            "jupyterhub_users: [{name: alice}, {name: bob, password: 12345678}]",
            'jupyterhub_users: password of bob is a number; put it in quotes: password: "…"',
        ),
        ("jupyterhub_users: [{name: alice, password: }]", "password of alice has no value; write one or remove the"),
        ("jupyterhub_users: [{admin: true}]", "jupyterhub_users: entry 1 lacks name"),
        ("jupyterhub_users: [alice]", "jupyterhub_users: entry 1 is a string; use a dictionary such as {name: …}"),
        ("jupyterhub_users: {alice: {}}", "jupyterhub_users is a dictionary; use a list such as [{name: …}]"),
        (
            "jupyterhub_users: [{name: alice, group: [a]}]",
            "jupyterhub_users: alice has group, which is not known; did you mean groups?",
        ),
        (
            "jupyterhub_users: [{name: alice, state: away}]",
            "jupyterhub_users: state of alice is 'away'; use one of present, disabled, absent",
        ),
        (
            "jupyterhub_users: [{name: alice, update_password: yes}]",
            "jupyterhub_users: update_password of alice is true; use one of on_create, always",
        ),
        ("jupyterhub_users: [{name: alice, groups: a}]", "groups of alice is 'a'; use a list such as [a]"),
        (
            "jupyterhub_registry_logins: [{registry: r.example.com, password: ''}]",
            "jupyterhub_registry_logins: r.example.com lacks username, password",
        ),
        ("jupyterhub_backup_keep: {daily: many}", "jupyterhub_backup_keep: daily is 'many'; use a whole number"),
        ("jupyterhub_backup_keep: {dayly: 1}", "jupyterhub_backup_keep has dayly, which is not known; did you mean da"),
    ],
)
def test_a_wrong_type_is_named_with_its_remedy(source: str, problem: str) -> None:
    found = typed(source)
    (message,) = found["problems"]
    assert problem in message
    assert next(iter(yaml.safe_load(source))).removeprefix("jupyterhub_") not in found["settings"]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("jupyterhub_port: '8000'", 8000),
        ("jupyterhub_auth_state: 'yes'", True),
        ("jupyterhub_auth_state: 'False'", False),
        ("jupyterhub_minimum_free_gib: '2.5'", 2.5),
        ("jupyterhub_minimum_free_gib: 2", 2),
        ("jupyterhub_gitlab_allowed_projects: ['77', 78]", [77, 78]),
        ("jupyterhub_users: [{name: alice, admin: 'yes'}]", [{"name": "alice", "admin": True}]),
        ("jupyterhub_backup_keep: {last: '3'}", {"last": 3}),
        ("jupyterhub_backup_keep: {}", {}),
        ("docker_daemon_options: {debug: null}", {"debug": None}),
        ("jupyterhub_authenticators: [native, {name: lab}]", ["native", {"name": "lab"}]),
    ],
)
def test_a_value_that_ansible_converts_is_accepted(source: str, value: Any) -> None:
    (name,) = yaml.safe_load(source)
    found = typed(source)
    assert found["problems"] == []
    assert found["settings"][name.removeprefix("jupyterhub_")] == value
    assert type(found["settings"][name.removeprefix("jupyterhub_")]) is type(value) or value == 2


def test_all_problems_are_listed_and_the_other_settings_are_returned() -> None:
    found = typed("{jupyterhub_port: http, jupyterhub_extra_config: , jupyterhub_name: lab, jupyterhub_typo: 5}")
    assert [problem.split()[0] for problem in found["problems"]] == ["jupyterhub_extra_config", "jupyterhub_port"]
    assert found["settings"]["name"] == "lab"
    assert found["settings"]["admin_user"] == "admin"  # the default
    assert "backup_dir" not in found["settings"]  # its default is an expression
    assert not {"typo", "jupyterhub_typo"} & found["settings"].keys()


@pytest.mark.parametrize(
    "source",
    [
        "jupyterhub_admin_password: [s3cret]",
        "jupyterhub_github_client_secret: {s3cret: s3cret}",
        "jupyterhub_admin_password: 190735001",
        "jupyterhub_admin_password: 2019-07-01",
        "jupyterhub_users: ['alice:s3cret']",
        "jupyterhub_users: alice:s3cret",
        "jupyterhub_users: {alice: s3cret}",
        "jupyterhub_users: [{name: alice, password: [s3cret]}]",
        "jupyterhub_users: [{name: alice, passwort: s3cret}]",
        "jupyterhub_registry_logins: [{registry: r, username: alice, password: 190735001}]",
        "jupyterhub_images_build_args: http_proxy=http://alice:s3cret@proxy.example.com",
    ],
)
def test_no_message_shows_a_secret(source: str) -> None:
    problems = typed(source)["problems"]
    assert problems
    assert not [word for word in ("s3cret", "190735001", "2019") if word in str(problems)]


class Expressions(list[Any]):
    """Values that raise an error when they are read, as expressions of the operator do."""

    def __getitem__(self, number: Any) -> Any:
        if isinstance(list.__getitem__(self, number), Exception):
            raise list.__getitem__(self, number)
        return list.__getitem__(self, number)

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError


CAPTURED = "A captured exception marker was tripped: "


@pytest.mark.parametrize(
    ("name", "error", "problems"),
    [
        (
            "jupyterhub_extra_config", "'mine' is undefined",
            ["jupyterhub_extra_config cannot be read: 'mine' is undefined; correct the expression"],
        ),
        (
            "jupyterhub_admin_password", "A vault exception marker was tripped.",
            ["jupyterhub_admin_password cannot be decrypted; pass the vault's password, as with --ask-vault-pass"],
        ),
        (
            "jupyterhub_admin_password", "'vault_password' is undefined",
            ["jupyterhub_admin_password cannot be read: 'vault_password' is undefined; correct the expression"],
        ),
        (
            "jupyterhub_admin_password", f"{CAPTURED}cannot convert 's3cret'",
            ["jupyterhub_admin_password cannot be read: its expression fails; correct the expression"],
        ),
        (
            "jupyterhub_port", f"{CAPTURED}cannot convert 'x'",
            ["jupyterhub_port cannot be read: cannot convert 'x'; correct the expression"],
        ),
        ("docker_repository_url", "object of type 'dict' has no attribute 'distribution'", []),
        (
            "jupyterhub_config_dir", "'mine' is undefined",
            ["jupyterhub_config_dir cannot be read: 'mine' is undefined; correct the expression"],
        ),
    ],
)  # fmt: skip
def test_an_expression_that_fails_is_named(name: str, error: str, problems: list[str]) -> None:
    values = Expressions([ValueError(error), "lab"])
    found = jupyterhub_types.typed_settings(values, [name, "jupyterhub_name"], SPECS)
    assert found["problems"] == problems
    assert name.removeprefix("jupyterhub_") not in found["settings"]
    assert found["settings"]["name"] == "lab"


def test_an_expression_that_fails_inside_a_setting_is_named() -> None:
    values = [[{"name": Expressions([ValueError("'mine' is undefined")])}]]
    (problem,) = jupyterhub_types.typed_settings(values, ["jupyterhub_users"], SPECS)["problems"]
    assert problem == "jupyterhub_users cannot be read: 'mine' is undefined; correct the expression"


def test_a_setting_that_reads_a_wrong_one_is_not_reported_again() -> None:
    names = ["jupyterhub_keep_images", "jupyterhub_images_keep"]
    assert jupyterhub_types.typed_settings(["many", "many"], names, SPECS)["problems"] == [
        "jupyterhub_keep_images is 'many'; use a whole number"
    ]
    assert jupyterhub_types.typed_settings([2, "many"], names, SPECS)["problems"] == [
        "jupyterhub_images_keep is 'many'; use a whole number"
    ]


def test_every_default_has_its_type() -> None:
    values = {name: spec["default"] for name, spec in SPECS.items() if "{{" not in str(spec["default"])}
    assert jupyterhub_types.typed_settings(list(values.values()), values, SPECS)["problems"] == []


def test_every_type_of_the_specs_is_known() -> None:
    def types(options: dict[str, Any]) -> Iterator[str]:
        for spec in options.values():
            yield spec["type"]
            yield spec.get("elements", "raw")
            yield from types(spec.get("options", {}))

    assert set(types(SPECS)) <= jupyterhub_types.IS.keys()


def test_the_settings_of_a_role_are_its_own_and_those_that_they_read() -> None:
    specs = jupyterhub_types.specs_of(SPECS_BY_ROLE, ["jupyterhub_backup"])

    assert set(SPECS_BY_ROLE["jupyterhub_backup"]) < set(specs)
    assert {"jupyterhub_name", "jupyterhub_config_dir", "jupyterhub_health_timeout"} < set(specs)
    assert "jupyterhub_version" not in specs
    assert jupyterhub_types.specs_of(SPECS_BY_ROLE, SPECS_BY_ROLE) == SPECS
