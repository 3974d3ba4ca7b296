"""The rules that join the parts of the project: names, defaults, entry points, and where playbooks are."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import reference

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PYTHON = "ansible_python_interpreter"
CACHES = {".git", ".venv", ".cache", ".ansible", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__"}


class AnyTagLoader(yaml.SafeLoader):
    """Reads Ansible's own tags (``!vault``, ``!unsafe``) as what they are attached to."""


AnyTagLoader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))


def load(path: Path) -> Any:
    """Return the content of a YAML file, an empty mapping when it is empty or missing."""
    if not path.exists():
        return {}
    return yaml.load(path.read_text(encoding="utf-8"), Loader=AnyTagLoader) or {}


PLAYBOOKS = sorted(
    path for path in [*ROOT.glob("*.yml"), *ROOT.glob("playbooks/*.yml")] if isinstance(load(path), list)
)


def specs(role: str) -> dict[str, Any]:
    """Return a role's argument specs by entry point."""
    return dict(load(ROOT / "roles" / role / "meta/argument_specs.yml").get("argument_specs", {}))


@functools.cache
def everything() -> list[Path]:
    """Return the project's files without the caches of tools."""
    found = []
    for directory, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in CACHES]
        found += [Path(directory, name) for name in names]
    return sorted(found)


def files(*suffixes: str) -> list[Path]:
    """Return the project's files with one of these suffixes, all when none is given."""
    return [path for path in everything() if not suffixes or path.suffix in suffixes]


def tasks_of(content: Any) -> Iterator[dict[str, Any]]:
    """Yield every task in a task file or play, those inside blocks too."""
    for item in content if isinstance(content, list) else []:
        if isinstance(item, dict):
            yield item
            for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
                yield from tasks_of(item.get(key))


@pytest.mark.parametrize("role", ROLES)
def test_defaults_match_the_specs(role: str) -> None:
    options = specs(role)["main"].get("options") or {}
    specified = {name: option.get("default") for name, option in options.items() if not option.get("required")}

    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    assert {name: value for name, value in defaults.items() if name != PYTHON} == specified


@pytest.mark.parametrize("role", ROLES)
def test_settings_begin_with_the_name_of_their_role(role: str) -> None:
    # A setting of role jupyterhub must not look like one of jupyterhub_images either.
    others = [f"{other}_" for other in ROLES if other != role and other.startswith(f"{role}_")]
    for spec in specs(role).values():
        for name in spec.get("options") or {}:
            assert name.startswith(f"{role}_"), name
            assert not name.startswith(tuple(others)), name


@pytest.mark.parametrize("role", ROLES)
def test_private_variables_are_named_as_private(role: str) -> None:
    for path in (ROOT / "roles" / role / "vars").glob("*.yml"):
        assert [name for name in load(path) if not name.startswith(f"_{role}")] == [], path
    for path in (ROOT / "roles" / role).glob("*/*.yml"):
        for task in tasks_of(load(path)):
            assert str(task.get("register", "__")).startswith("__"), f"{path}: {task}"


def test_every_entry_point_has_a_spec() -> None:
    used = {(role, "main") for role in ROLES}
    for path in files(".yml"):
        for task in tasks_of(load(path)):
            for action in ("include_role", "import_role"):
                called = task.get(f"ansible.builtin.{action}") or task.get(action) or {}
                if called.get("name") in ROLES and "tasks_from" in called:
                    used.add((called["name"], called["tasks_from"].removesuffix(".yml")))
    missing = sorted(pair for pair in used if pair[1] not in specs(pair[0]))

    assert missing == []


@pytest.mark.parametrize("role", ROLES)
def test_spec_has_everything_that_the_reference_shows(role: str) -> None:
    for spec in specs(role).values():
        assert spec.get("short_description")
        for name, option in (spec.get("options") or {}).items():
            assert option.get("description"), name
            assert option.get("type"), name


def read_elsewhere(expression: str) -> tuple[str, Any] | None:
    """Return the variable and the fallback of ``{{ variable | default(fallback) }}``, ``None`` for anything else."""
    match = re.fullmatch(r"\{\{ (\w+) \| default\((.*)\) \}\}", expression)
    try:
        return (match[1], ast.literal_eval(match[2])) if match else None
    except (SyntaxError, ValueError):  # the fallback is an expression itself
        return None


def test_defaults_read_from_another_role_are_those_of_that_role() -> None:
    # A role that is used without the other one has to behave the same.
    defaults = {role: load(ROOT / "roles" / role / "defaults/main.yml") for role in ROLES}
    of_all = {name: value for found in defaults.values() for name, value in found.items()}
    read = {name: read_elsewhere(str(value)) for name, value in of_all.items()}
    wrong = {
        name: pair for name, pair in read.items() if pair and (pair[0] not in of_all or of_all[pair[0]] != pair[1])
    }

    assert read["jupyterhub_images_source"] == ("jupyterhub_image_source", "pull")
    assert wrong == {}


@pytest.mark.parametrize("role", ["docker", "jupyterhub_backup", "jupyterhub_images"])
def test_settings_of_another_role_are_read_with_a_default(role: str) -> None:
    """The defaults of the other role are not loaded in every play."""
    settings = {other: set(load(ROOT / "roles" / other / "defaults/main.yml")) for other in ROLES}
    others = set().union(*(found for other, found in settings.items() if other != role)) - settings[role]
    wrong = [
        f"{path.name}: {name}"
        for path in (ROOT / "roles" / role).rglob("*.yml")
        if path.parent.name in ("tasks", "vars")
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
        for name in re.findall(r"\b(\w+)\b(?! \| default\()", line)
        if name in others
    ]
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_uses_the_python_of_the_distribution(role: str) -> None:
    assert load(ROOT / "roles" / role / "defaults/main.yml")[PYTHON] == "/usr/bin/python3"


def test_the_root_has_the_weekly_playbooks_only() -> None:
    names = {path.name for path in PLAYBOOKS if path.parent == ROOT}

    assert names == {"backup.yml", "restore.yml", "site.yml", "status.yml", "upgrade.yml"}


def test_no_variables_are_loaded_from_the_root_only() -> None:
    # Ansible loads group_vars/ and host_vars/ beside a playbook only for plays of that very directory.
    assert [name for name in ("group_vars", "host_vars") if (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "folder", ["action_plugins", "callback_plugins", "filter_plugins", "library", "module_utils", "roles"]
)
def test_plays_in_playbooks_find_what_is_beside_site_yml(folder: str) -> None:
    link = ROOT / "playbooks" / folder

    assert link.is_symlink()
    assert link.readlink() == Path("..", folder)


def play(playbook: Path, directory: Path, *arguments: str | Path, **facts: Any) -> str:
    """Run a playbook from a directory without our ansible.cfg, against this machine; return what it printed."""
    inventory = {"jupyterhub": {"hosts": {"server": {"ansible_connection": "local", "ansible_become": False, **facts}}}}
    (directory / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
    (directory / "empty.cfg").touch()
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", directory / "hosts.json", playbook, *arguments],
        cwd=directory, env={**os.environ, "ANSIBLE_CONFIG": str(directory / "empty.cfg")}, check=False,
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return f"{done.stdout}\nexit code {done.returncode}"


def test_playbooks_find_their_roles_and_modules_from_any_directory(tmp_path: Path) -> None:
    output = play(PLAYBOOKS[0], tmp_path, *PLAYBOOKS[1:], "--syntax-check")

    assert output.count("\nplaybook: ") == len(PLAYBOOKS), output
    assert "\nexit code 0" in output


def test_a_playbook_of_the_operator_can_import_all_of_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(json.dumps([{"ansible.builtin.import_playbook": str(path)} for path in PLAYBOOKS]))

    assert "\nexit code 0" in play(own, tmp_path, "--syntax-check")


@pytest.mark.parametrize("imported", [False, True], ids=["directly", "imported"])
def test_plays_in_playbooks_run_with_plugins_and_module_utils(imported: bool, tmp_path: Path) -> None:
    playbook = ROOT / "playbooks/verify_backups.yml"
    if imported:
        playbook = tmp_path / "own.yml"
        playbook.write_text(
            json.dumps([{"ansible.builtin.import_playbook": str(ROOT / "playbooks/verify_backups.yml")}])
        )
    output = play(playbook, tmp_path, "-vvv", jupyterhub_name="jhd-test-contract")

    # The action plugin runs the module as a job; its module_utils say this.
    assert "/var/backups/jhd-test-contract does not exist" in output
    assert "ansible.builtin.async_status" in output or "async_status.py" in output


@pytest.mark.parametrize(
    ("arguments", "environment", "copied"),
    [
        ([], {}, True),
        (["ARGS=--limit lab --check"], {}, True),
        (["ARGS=-i /srv/hubs/inventory"], {}, False),
        (["ARGS=--check --inventory=/srv/hubs/inventory"], {}, False),
        ([], {"ANSIBLE_INVENTORY": "/srv/hubs/inventory"}, False),
    ],
)
def test_make_copies_the_example_inventory_only_if_no_other_is_named(
    arguments: list[str], environment: dict[str, str], copied: bool, tmp_path: Path
) -> None:
    # Otherwise the run without the name of the inventory would apply the example's settings to this machine.
    ignored = ("MAKE", "ANSIBLE_INVENTORY", "ARGS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ignored)}
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    for verb in ("site", "backup", "verify", "restore", "status", "upgrade"):
        done = subprocess.run(
            ["make", "--dry-run", f"--makefile={ROOT / 'Makefile'}", verb, *arguments],
            cwd=tmp_path, env={**inherited, **environment}, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert ("cp -R examples/inventory inventory" in done.stdout) == copied, done.stdout
        assert "ansible-playbook" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["site", "--check"], "for check mode, run: make site ARGS=--check"),
        (["restore", "user=alice"], "user is ignored here; pass parameters with ARGS"),
        (["restore", "ARGS=-e user=L --check"], None),
    ],
)
def test_make_refuses_what_it_would_take_for_its_own(arguments: list[str], expected: str | None) -> None:
    # GNU make takes --check for --check-symlink-times, and the run would change the host.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ARGS"))}
    command = ["make", "--dry-run", f"--makefile={ROOT / 'Makefile'}", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=inherited, check=False, capture_output=True, text=True)
    assert bool(done.returncode) == bool(expected), done.stderr
    assert (expected or "") in done.stderr


@pytest.mark.parametrize("limit", [[], ["--limit", "server"]])
def test_a_run_without_a_group_jupyterhub_fails(limit: list[str], tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"jupyterhb": {"hosts": {"server": {}}}}), encoding="utf-8")
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, ROOT / "status.yml", "-i", inventory, *limit],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        check=False, text=True, capture_output=True,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert "Could not match supplied host pattern, ignoring: jupyterhub" in done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_plays_are_for_the_hosts_that_the_callback_expects(playbook: Path) -> None:
    """It knows our plays by them, and fails a run in which one has no hosts."""
    plays = [play for play in load(playbook) if "ansible.builtin.import_playbook" not in play]

    assert {play["hosts"] for play in plays} <= {"jupyterhub"}


@pytest.mark.parametrize(
    ("playbook", "config", "hosts", "arguments"),
    [
        (ROOT / "status.yml", False, {}, []),
        (ROOT / "status.yml", False, None, []),  # the group is misspelt
        (ROOT / "playbooks/verify_backups.yml", False, {}, []),
        (ROOT / "site.yml", False, {"server": {}}, ["--limit", "www"]),
        (ROOT / "site.yml", True, {"server": {}}, ["--limit", "www"]),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else None,
)
def test_a_run_without_hosts_fails(
    playbook: Path, config: bool, hosts: dict[str, Any] | None, arguments: list[str], tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.json"
    group = {"jupyterhb": {"hosts": {"server": {}}}} if hosts is None else {"jupyterhub": {"hosts": hosts}}
    inventory.write_text(json.dumps({**group, "web": {"hosts": {"www": {}}}}), encoding="utf-8")
    empty = tmp_path / "empty.cfg"
    empty.touch()
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), playbook, "-i", inventory, *arguments],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg" if config else empty)}, check=False,
        text=True, capture_output=True,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert "Nothing was done, because this run has no host of the group jupyterhub." in done.stderr
    assert done.stdout.count("PLAY [") == 1


@pytest.mark.parametrize(
    "playbook",
    ["site", "backup", "status", "upgrade", "restore", "playbooks/verify_backups", "playbooks/delete_user"],
)
def test_a_checkout_that_everyone_can_write_to_has_no_inventory(playbook: str, tmp_path: Path) -> None:
    """There, Ansible ignores ansible.cfg, and so the inventory that it names."""
    shutil.copy(ROOT / "ansible.cfg", tmp_path)
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.json").write_text('{"jupyterhub": {"hosts": {"server": {}}}}', encoding="utf-8")
    tmp_path.chmod(0o777)
    # Not with an inventory of this machine, whatever the test finds.
    own = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--check", ROOT / f"{playbook}.yml"], cwd=tmp_path,
        env={**own, "HOME": str(tmp_path), "ANSIBLE_INVENTORY": os.devnull}, check=False, text=True,
        capture_output=True,
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert "Nothing was done, because this run has no host of the group jupyterhub." in done.stderr


def test_two_hosts_that_are_one_hub_are_refused(tmp_path: Path) -> None:
    """Also when --limit selects one of them, which would move the hub of the other."""
    hosts = {name: {"ansible_connection": "local"} for name in ("first", "second")}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"jupyterhub": {"hosts": hosts}}), encoding="utf-8")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), ROOT / "site.yml", "-i", inventory,
            "--limit", "second", "--tags", "always", "--check",
        ],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=False, text=True, capture_output=True,
    )  # fmt: skip

    refused = " ".join(done.stderr.split())
    assert "first and second in the inventory are the same hub, jupyterhub, on the same machine" in refused
    assert done.returncode == 1, done.stdout
    assert "TASK [" not in done.stdout


def test_two_hubs_of_a_machine_with_the_same_port_are_refused(tmp_path: Path) -> None:
    hosts = {name: {"ansible_connection": "local", "jupyterhub_name": name} for name in ("first", "second")}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"jupyterhub": {"hosts": hosts}}), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), ROOT / "site.yml", "-i", inventory, "--check"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, check=False, text=True, capture_output=True,
    )  # fmt: skip

    assert "first and second in the inventory both have jupyterhub_port 8000 on the same" in " ".join(
        done.stderr.split()
    )
    assert done.returncode == 1, done.stdout
    assert "TASK [" not in done.stdout


TAGS = "Use one of backup, docker, docker_install, docker_run, hub, images."


@pytest.mark.parametrize(
    ("playbook", "arguments", "message"),
    [
        ("site.yml", ["--tags", "hubb"], f"no task of site.yml has the tag hubb. {TAGS}"),
        ("site.yml", ["--skip-tags", "dockr,hub,imgs"], f"no task of site.yml has the tag dockr or imgs. {TAGS}"),
        ("upgrade.yml", ["--tags", "hub", "--tags", "x"], f"no task of upgrade.yml has the tag x. {TAGS}"),
        ("backup.yml", ["--tags", "backup"], "no task of backup.yml has the tag backup. It has no tags; leave out"),
    ],
)
def test_a_tag_that_no_task_has_is_refused(playbook: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    output = play(ROOT / playbook, tmp_path, *arguments)

    assert f"Nothing was done, because {message}" in output.replace("\n", " ")
    assert "exit code 1" in output
    assert "PLAY [" not in output


def test_a_tag_that_no_task_of_several_playbooks_has_is_refused(tmp_path: Path) -> None:
    output = play(ROOT / "status.yml", tmp_path, ROOT / "site.yml", "--tags", "hub,x").replace("\n", " ")

    assert f"Nothing was done, because no task of status.yml or site.yml has the tag x. {TAGS}" in output
    assert "exit code 1" in output
    assert "PLAY [" not in output


def test_known_tags_are_accepted(tmp_path: Path) -> None:
    for tags in ("hub,backup", "docker_run", "always"):
        assert "jupyterhub_prot is not" in play(ROOT / "site.yml", tmp_path, "--tags", tags, jupyterhub_prot=1)
    # Molecule always passes these.
    skipped = ("--skip-tags", "molecule-notest,notest,molecule-idempotence-notest")
    assert "jupyterhub_prot is not" in play(ROOT / "site.yml", tmp_path, *skipped, jupyterhub_prot=1)


@pytest.mark.parametrize("tags", [[], ["--tags", "hub"], ["--tags", "docker_run"], ["--skip-tags", "backup,images"]])
def test_an_upgrade_begins_with_its_checks_and_a_backup(tags: list[str], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, ROOT / "upgrade.yml", "-i", "jupyterhub,", "--list-tasks", *tags],
        cwd=tmp_path, check=True, text=True, capture_output=True,
    )  # fmt: skip
    check, backup, change, *_ = re.split(r"^  play #.*$", done.stdout, flags=re.MULTILINE)[1:]

    assert "preflight : Check the host\t" in check
    for task in ("Back up what has changed", "Check that everything was backed up", "Push the missing backups"):
        assert f"jupyterhub_backup : {task}\t" in backup
    assert "Check the host" in change


def test_an_upgrade_uses_the_role_docker_only_after_the_backup() -> None:
    """The first play has the role for its settings; a tag of one of its tasks would overrule the tag ``never``."""
    roles = load(ROOT / "upgrade.yml")[0]["roles"]

    assert [(role["role"], role.get("when")) for role in roles] == [
        ("preflight", None), ("docker", False), ("jupyterhub", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["--skip-tags", "hub,always"], "--skip-tags always"),
        (["--skip-tags", "hub,tagged"], "--skip-tags tagged"),
        ([ROOT / "status.yml", "--skip-tags", "always"], "--skip-tags always"),
        (["--start-at-task", "misspelt"], "--start-at-task"),
    ],
    ids=["always", "tagged", "several playbooks", "start at task"],
)
def test_checks_and_backups_cannot_be_skipped(arguments: list[str | Path], refused: str, tmp_path: Path) -> None:
    output = play(ROOT / "upgrade.yml", tmp_path, *arguments, "--check")

    assert f"Nothing was done, because {refused} would skip checks" in output.replace("\n", " ")
    assert "exit code 1" in output
    assert "PLAY [" not in output


def test_a_playbook_of_the_operator_has_its_own_tags(tmp_path: Path) -> None:
    # They may be in files that are included, so that they are not known before the run.
    own = tmp_path / "own.yml"
    task = {"ansible.builtin.include_tasks": "more.yml", "tags": "always"}
    status = {"ansible.builtin.import_playbook": str(ROOT / "status.yml")}
    own.write_text(json.dumps([{"hosts": "jupyterhub", "gather_facts": False, "tasks": [task]}, status]))
    own.with_name("more.yml").write_text(json.dumps([{"ansible.builtin.debug": {"msg": "ran"}, "tags": "mine"}]))
    output = play(own, tmp_path, "--tags", "mine", jupyterhub_prot=1)

    assert '"msg": "ran"' in output
    assert "jupyterhub_prot is not" in output


def test_a_play_of_the_operator_may_have_no_hosts(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    status = {"ansible.builtin.import_playbook": str(ROOT / "status.yml"), "when": False}
    own.write_text(json.dumps([{"hosts": "ungrouped", "tasks": []}, status]))
    output = play(own, tmp_path)

    assert "no hosts matched" in output
    assert output.endswith("\nexit code 0")


@pytest.mark.parametrize(("arguments", "times"), [([], 1), (["-v"], 2)])
def test_a_refusal_is_shown_once(arguments: list[str], times: int, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"jupyterhub": {"hosts": {"server": {"ansible_connection": "local"}}}}))
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, ROOT / "restore.yml", "-i", inventory, "-e", "usr=alice", *arguments],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    assert done.returncode == 2, done.stdout
    assert done.stdout.count("- usr is not a parameter of restore.yml") == times, done.stdout
    assert ("Origin:" in done.stdout) == (times > 1)


def test_roles_read_the_settings_of_the_inventory_and_have_defaults(tmp_path: Path) -> None:
    probe = tmp_path / "probe.yml"
    names = ["jupyterhub_images_source", "jupyterhub_images_for", "jupyterhub_images_keep", PYTHON]
    shown = {"msg": "{{ [" + ", ".join(names) + "] | to_json }}"}
    role = {"name": str(ROOT / "roles/jupyterhub_images"), "tasks_from": "main"}
    tasks = [{"ansible.builtin.debug": shown}, {"ansible.builtin.import_role": role, "when": False}]
    (tmp_path / "library").symlink_to(ROOT / "library")
    probe.write_text(json.dumps([{"hosts": "jupyterhub", "gather_facts": False, "tasks": tasks}]))

    defaults = play(probe, tmp_path)
    assert r"[\"pull\", \"jupyterhub\", 2, \"/usr/bin/python3\"]" in defaults, defaults
    settings = {"jupyterhub_image_source": "build", "jupyterhub_name": "lab", "jupyterhub_keep_images": 5}
    own = play(probe, tmp_path, **settings, **{PYTHON: sys.executable})
    assert rf"[\"build\", \"lab\", 5, \"{sys.executable}\"]" in own, own


@pytest.mark.parametrize("module", ["jupyterhub_hub", "jupyterhub_proxy", "jupyterhub_hub_state"])
def test_the_health_timeout_of_the_operator_reaches_every_module_that_waits(module: str) -> None:
    tasks = [
        task[module] for path in ROOT.glob("roles/*/tasks/*.yml") for task in tasks_of(load(path)) if module in task
    ]

    assert tasks
    for options in tasks:
        given = options.get("health_timeout") or options.get("<<", {}).get("health_timeout")
        assert given in ("{{ jupyterhub_health_timeout }}", "{{ jupyterhub_backup_health_timeout }}"), options
    default = specs("jupyterhub_backup")["main"]["options"]["jupyterhub_backup_health_timeout"]["default"]
    assert "jupyterhub_health_timeout" in default


def test_no_file_names_a_package_host() -> None:
    # The mirrors of the operator have to be used. The names are split here so that this file passes, too.
    domains = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian.org"]
    domains += ["security." + "debian.org", "ftp." + "debian.org", "archive." + "ubuntu.com"]
    naming = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        naming += [f"{path.relative_to(ROOT)}: {domain}" for domain in domains if domain in text]

    assert naming == []


def test_modules_return_what_they_show_as_messages() -> None:
    """``show_messages.yml`` shows ``messages``; there is not a second name for it."""
    for module, texts in reference.read_modules(ROOT).items():
        returned = yaml.safe_load(texts.get("RETURN", "")) or {}
        assert not {"message", "text", "words", "lines"} & returned.keys(), module
        assert returned.get("messages", {"elements": "str"})["elements"] == "str", module
