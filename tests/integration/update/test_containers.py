"""The check of all containers of a hub in one call, on real Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.containers import container
from ansible.module_utils.jupyterhub_deploy.update import containers as update

import jupyterhub_containers
from hosts.run import name as run_name
from support.module_site import ModuleSite, killed_run
from support.modules import ModuleError, run
from support.site_fixtures import StartSite

NAME = run_name("check")
PARTS = ["guard", "front", "proxy", "hub"]
#: For each part, an option that needs a new container or a new configuration of the front.
CHANGES: dict[str, dict[str, Any]] = {
    "guard": {"allowed_networks": ["10.1.0.0/16"]},
    "front": {"environment": {"EXAMPLE": "1"}},
    "proxy": {"api_host": f"{NAME}-other-api"},
    "hub": {"environment": {"DOCKER_NETWORK_NAME": f"{NAME}-network", "JUPYTERHUB_ADMIN": "carol"}},
}


class Site:
    """A hub with all its parts."""

    def __init__(self, modules: ModuleSite) -> None:
        self.modules = modules

    def options(self, **changes: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the parts, with changes."""
        options = {part: getattr(self.modules, f"{part}_arguments")() for part in PARTS}
        return {part: {**given, **changes.get(part, {})} for part, given in options.items()}

    def check(self, check: bool = False, **changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Run the module; return the results of the parts without a change."""
        options = self.options(**changes)
        del options["hub"]["public_probe"]
        result = run(jupyterhub_containers, check=check, **options)
        assert result["changed"] is False
        return dict(result["unchanged"])

    def containers(self) -> list[tuple[str, str, str]]:
        """Return name, identity and start time of each container, also of stopped ones."""
        found = self.modules.client.containers.list(all=True, filters={"name": f"^{NAME}"})
        return sorted((str(one.name), str(one.id), one.attrs["State"]["StartedAt"]) for one in found)


@pytest.fixture(scope="module")
def site(start_site: StartSite) -> Site:
    modules = start_site(NAME)
    modules.run_guard()
    return Site(modules)


@pytest.mark.parametrize("check", [False, True])
def test_the_results_are_those_of_the_modules(site: Site, check: bool) -> None:
    before = site.containers()
    results = site.check(check)
    assert list(results) == PARTS
    for part in PARTS:
        own = getattr(site.modules, f"run_{part}")()
        assert own["changed"] is False
        assert results[part].items() >= {key: own[key] for key in ("action", "messages")}.items()
    assert results["proxy"]["url"] == site.modules.run_proxy()["url"]
    assert results["hub"]["servers_on_other_images"] == []
    assert site.containers() == before


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_a_change_is_left_to_its_module(site: Site, part: str, check: bool) -> None:
    before = site.containers()
    assert list(site.check(check, **{part: CHANGES[part]})) == PARTS[: PARTS.index(part)]
    assert site.containers() == before


def test_the_removal_of_the_guard_is_left_to_its_module(site: Site) -> None:
    before = site.containers()
    assert site.check(guard={"isolation": "none"}) == {}
    assert site.containers() == before


@pytest.mark.parametrize("part", PARTS)
def test_what_a_killed_run_left_is_left_to_its_module(site: Site, part: str, tmp_path: Path) -> None:
    changed = site.options(**{part: CHANGES[part]})[part]
    assert killed_run(f"jupyterhub_{part}", "create_container:1", changed, tmp_path)
    before = site.containers()
    assert list(site.check()) == PARTS[: PARTS.index(part)]
    assert site.containers() == before

    assert getattr(site.modules, f"run_{part}")()["changed"] is True
    assert list(site.check()) == PARTS


def test_a_part_that_does_not_answer_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.containers()
    proxy = site.modules.client.containers.get(f"{NAME}-proxy")
    monkeypatch.setattr(container, "PATIENCE", None)  # an error where a module calculates how long it waits
    proxy.pause()
    try:
        assert list(site.check()) == ["guard", "front"]
    finally:
        proxy.unpause()
    assert site.containers() == before


def test_a_failure_of_the_system_names_the_part(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(update.PARTS, "proxy", fail)
    with pytest.raises(ModuleError, match=r"^Docker or the system failed while checking the proxy: .*No space left"):
        site.check()


def test_a_missing_image_is_named(site: Site) -> None:
    with pytest.raises(ModuleError, match=r"^image nowhere/proxy:1 is not on this host; run make site"):
        site.check(proxy={"image": "nowhere/proxy:1"})
